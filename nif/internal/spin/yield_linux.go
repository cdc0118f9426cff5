package spin

import "golang.org/x/sys/unix"

const yieldInterval = 1_000

// Yield lets another thread that waits for this processor run. It does not block, so Go's scheduler is not told.
func Yield() {
	_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
}
