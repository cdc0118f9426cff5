//go:build linux || freebsd || netbsd || openbsd || dragonfly

package pollset

import "golang.org/x/sys/unix"

func systemMonotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("pollset: no monotonic clock: " + err.Error())
	}
	return ts.Nano()
}
