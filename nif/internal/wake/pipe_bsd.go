//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package wake

import (
	"time"

	"golang.org/x/sys/unix"
)

// pipe is a pipe; there is no eventfd. Reading takes everything at once.
type pipe struct{ r, w int }

func (p *pipe) open() error {
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		return err
	}
	p.r, p.w = fds[0], fds[1]
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			p.close()
			return err
		}
	}
	return nil
}

func (p *pipe) readEnd() int { return p.r }

func (p *pipe) writeEnd() int { return p.w }

func (p *pipe) close() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}

// signal ignores EAGAIN: a full pipe is readable, which is all that a signal says.
func (p *pipe) signal() {
	for {
		if _, err := unix.Write(p.w, []byte{0}); err != unix.EINTR {
			return
		}
	}
}

func (p *pipe) drain() {
	var buf [64]byte
	for {
		n, err := unix.Read(p.r, buf[:])
		if err == unix.EINTR || n == len(buf) {
			continue
		}
		return
	}
}

// wait uses poll, whose unit is the millisecond: it rounds up, and a sleeper that needs more
// precision waits in its poll set.
func (p *pipe) wait(timeout int64) (bool, error) {
	fds := [1]unix.PollFd{{Fd: int32(p.r), Events: unix.POLLIN}}
	start := time.Now()
	for left := timeout; ; left = max(0, timeout-int64(time.Since(start))) {
		ms := -1
		if timeout >= 0 {
			ms = int(min((left+999_999)/1_000_000, 1<<31-1))
		}
		n, err := unix.Poll(fds[:], ms)
		if n > 0 {
			return true, nil
		}
		if err != nil && err != unix.EINTR {
			return false, err
		}
		if timeout >= 0 && int64(time.Since(start)) >= timeout {
			return false, nil
		}
	}
}
