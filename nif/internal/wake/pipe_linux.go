package wake

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pipe is an eventfd: one descriptor, and any number of signals is one read.
type pipe struct{ fd int }

func (p *pipe) open() (err error) {
	p.fd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return err
}

func (p *pipe) readEnd() int { return p.fd }

func (p *pipe) writeEnd() int { return p.fd }

func (p *pipe) close() { _ = unix.Close(p.fd) }

// signal and drain are raw system calls: a non-blocking eventfd returns at once, and telling
// Go's scheduler about it costs more than the call. EAGAIN means that the counter is full,
// that is, readable; other errors cannot happen to a descriptor that is open.
func (p *pipe) signal() {
	one := uint64(1)
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(p.fd),
			uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
		if errno != unix.EINTR {
			return
		}
	}
}

func (p *pipe) drain() {
	var count uint64
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(p.fd),
			uintptr(unsafe.Pointer(&count)), unsafe.Sizeof(count))
		if errno != unix.EINTR {
			return
		}
	}
}

func (p *pipe) wait(timeout int64) (bool, error) {
	fds := [1]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	start := time.Now()
	left := timeout
	for {
		var ts *unix.Timespec
		if timeout >= 0 {
			t := unix.NsecToTimespec(left)
			ts = &t
		}
		n, err := unix.Ppoll(fds[:], ts, nil)
		if err != unix.EINTR {
			return n > 0, err
		}
		if timeout >= 0 {
			left = max(0, timeout-int64(time.Since(start)))
		}
	}
}
