package pollset

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// epollSet keeps the users' descriptors in an epoll object and blocks in ppoll, on that
// object, the waker and the deadline.
//
// One epoll object for everything would save 0.5 µs and a second system call, but only when
// the owner really sleeps, which costs 25 µs and more. In exchange the object that the BEAM
// watches is not made readable by wake-ups and deadlines, and timeouts have nanoseconds on
// every kernel. With the timer slack of [PreciseTimers], ppoll is as late as a timerfd (median
// 24 µs against 25 µs at 200 µs, 20 to 60 µs for both at 1 ms; 85 µs without) and spares the
// 0.3 µs of arming one at each change of the deadline; epoll_pwait2 is no better.
type epollSet struct {
	table
	fd    int
	waker Waker
	raw   []unix.EpollEvent
}

// New returns an empty set. It fails with the system's errno when there are no descriptors left.
func New() (Set, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &epollSet{fd: fd}, nil
}

func (s *epollSet) Fd() int { return s.fd }

func (s *epollSet) SetWaker(w Waker) error {
	s.waker = w
	return nil
}

func control(epfd, op, fd int, e entry) error {
	event := unix.EpollEvent{Fd: int32(fd), Pad: int32(e.generation)}
	if e.interest&Read != 0 {
		event.Events |= unix.EPOLLIN
	}
	if e.interest&Write != 0 {
		event.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(epfd, op, fd, &event)
}

func (s *epollSet) Add(fd int, interest uint32) error {
	if err := validInterest(interest); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set(fd, interest, unix.EPOLL_CTL_ADD)
}

func (s *epollSet) Modify(fd int, interest uint32) error {
	if err := validInterest(interest); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.get(fd).interest == 0 {
		return unix.ENOENT
	}
	return s.set(fd, interest, unix.EPOLL_CTL_MOD)
}

// set tries op first and the other one when the kernel disagrees with the caller: EEXIST when
// the descriptor is there already, ENOENT when its number now means another open file than
// the one that was registered, which the kernel forgot by itself.
func (s *epollSet) set(fd int, interest uint32, op int) error {
	e := entry{interest: interest, generation: s.nextGeneration()}
	err := control(s.fd, op, fd, e)
	switch {
	case op == unix.EPOLL_CTL_ADD && err == unix.EEXIST:
		err = control(s.fd, unix.EPOLL_CTL_MOD, fd, e)
	case op == unix.EPOLL_CTL_MOD && err == unix.ENOENT:
		err = control(s.fd, unix.EPOLL_CTL_ADD, fd, e)
	}
	if err == nil {
		s.put(fd, e)
	}
	return err
}

func (s *epollSet) Remove(fd int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.get(fd).interest == 0 {
		return nil
	}
	s.put(fd, entry{})
	err := control(s.fd, unix.EPOLL_CTL_DEL, fd, entry{})
	if err == unix.EBADF || err == unix.ENOENT || err == unix.EPERM {
		// The descriptor was closed behind our back; its number may mean something else now.
		return nil
	}
	return err
}

func (s *epollSet) Wait(events []Event, timeoutNs int64) (int, bool, error) {
	n, err := s.harvest(events)
	if n > 0 || err != nil || timeoutNs == 0 {
		return n, false, err
	}
	return s.Block(events, timeoutNs)
}

func (s *epollSet) Block(events []Event, timeoutNs int64) (int, bool, error) {
	return block(s, s.waker, events, timeoutNs)
}

// harvest collects what is ready. The system call does not block, so it is made without
// handing this thread's P back to Go's scheduler, and under the lock, so that no registration
// changes between what the kernel reports and what the table says.
func (s *epollSet) harvest(events []Event) (int, error) {
	if len(s.raw) < len(events) {
		s.raw = make([]unix.EpollEvent, len(events))
	}
	raw := s.raw[:len(events)]
	s.mu.Lock()
	defer s.mu.Unlock()
	var count uintptr
	for {
		var errno unix.Errno
		count, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.fd),
			uintptr(unsafe.Pointer(&raw[0])), uintptr(len(raw)), 0, 0, 0)
		if errno == 0 {
			break
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
	n := 0
	for i := range raw[:count] {
		fd := raw[i].Fd
		e := s.get(int(fd))
		if e.interest == 0 || e.generation != uint32(raw[i].Pad) {
			continue
		}
		if mask := readiness(raw[i].Events) & e.interest; mask != 0 {
			events[n] = Event{Fd: fd, Mask: mask}
			n++
		}
	}
	if n < int(count) {
		return n, ErrStale
	}
	return n, nil
}

// readiness is that of CPython's EpollSelector: whatever is not purely the one is the other
// too, so that an error or a hang-up reaches whoever waits.
func readiness(events uint32) uint32 {
	var mask uint32
	if events&^unix.EPOLLIN != 0 {
		mask |= Write
	}
	if events&^unix.EPOLLOUT != 0 {
		mask |= Read
	}
	return mask
}

// sleep blocks until a user's descriptor is ready, the waker is, a signal came or the time
// is over.
func (s *epollSet) sleep(timeoutNs int64) (ready, woken bool, err error) {
	fds := [2]unix.PollFd{
		{Fd: int32(s.fd), Events: unix.POLLIN},
		{Fd: -1, Events: unix.POLLIN},
	}
	if s.waker != nil {
		fds[1].Fd = int32(s.waker.Fd())
	}
	var timeout *unix.Timespec
	if timeoutNs >= 0 {
		ts := unix.NsecToTimespec(timeoutNs)
		timeout = &ts
	}
	_, err = unix.Ppoll(fds[:], timeout, nil)
	if err == unix.EINTR {
		return false, false, nil
	}
	return fds[0].Revents != 0, fds[1].Revents != 0, err
}

func (s *epollSet) Rebuild() (int, error) {
	fresh, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for fd, e := range s.entries {
		if e.interest == 0 {
			continue
		}
		// If the old object does not know it, the number means another file by now, which
		// nobody registered.
		err := control(s.fd, unix.EPOLL_CTL_MOD, fd, e)
		if err == nil {
			err = control(fresh, unix.EPOLL_CTL_ADD, fd, e)
		}
		if err == nil {
			continue
		}
		if err != unix.EBADF && err != unix.ENOENT {
			_ = unix.Close(fresh)
			return -1, err
		}
		s.put(fd, entry{})
	}
	old := s.fd
	s.fd = fresh
	return old, nil
}

func (s *epollSet) Close(keepFd bool) {
	if !keepFd {
		_ = unix.Close(s.fd)
	}
}
