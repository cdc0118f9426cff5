//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package pollset

import "golang.org/x/sys/unix"

// kqueueSet keeps the users' descriptors in one kqueue and blocks in another one, which holds
// the first and the waker.
type kqueueSet struct {
	table
	fd    int
	outer int
	waker Waker
	raw   []unix.Kevent_t
}

// New returns an empty set. It fails with the system's errno when there are no descriptors left.
func New() (Set, error) {
	inner, err := newKqueue()
	if err != nil {
		return nil, err
	}
	outer, err := newKqueue()
	if err != nil {
		_ = unix.Close(inner)
		return nil, err
	}
	s := &kqueueSet{fd: inner, outer: outer}
	if err := change(outer, inner, unix.EVFILT_READ, unix.EV_ADD); err != nil {
		s.Close(false)
		return nil, err
	}
	return s, nil
}

func newKqueue() (int, error) {
	fd, err := unix.Kqueue()
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

func change(kq, fd, filter, flags int) error {
	var k unix.Kevent_t
	unix.SetKevent(&k, fd, filter, flags)
	for {
		_, err := unix.Kevent(kq, []unix.Kevent_t{k}, nil, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

func (s *kqueueSet) Fd() int { return s.fd }

func (s *kqueueSet) SetWaker(w Waker) error {
	if s.waker != nil {
		if err := forget(s.outer, s.waker.Fd(), unix.EVFILT_READ); err != nil {
			return err
		}
		s.waker = nil
	}
	if w == nil {
		return nil
	}
	if err := change(s.outer, w.Fd(), unix.EVFILT_READ, unix.EV_ADD); err != nil {
		return err
	}
	s.waker = w
	return nil
}

// forget tolerates that the kernel dropped the registration when the descriptor was closed.
func forget(kq, fd, filter int) error {
	err := change(kq, fd, filter, unix.EV_DELETE)
	if err == unix.ENOENT || err == unix.EBADF {
		return nil
	}
	return err
}

var filters = [2]struct {
	bit    uint32
	filter int
}{{Read, unix.EVFILT_READ}, {Write, unix.EVFILT_WRITE}}

func (s *kqueueSet) Add(fd int, interest uint32) error {
	if err := validInterest(interest); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set(fd, interest)
}

func (s *kqueueSet) Modify(fd int, interest uint32) error {
	if err := validInterest(interest); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.get(fd).interest == 0 {
		return unix.ENOENT
	}
	return s.set(fd, interest)
}

// set adds what is wanted even if it seems to be there: adding twice is no error, and the
// number may mean another file than the one that was registered.
func (s *kqueueSet) set(fd int, interest uint32) error {
	before := s.get(fd).interest
	for _, f := range filters {
		var err error
		switch {
		case interest&f.bit != 0:
			err = change(s.fd, fd, f.filter, unix.EV_ADD)
		case before&f.bit != 0:
			err = forget(s.fd, fd, f.filter)
		}
		if err != nil {
			return err
		}
	}
	s.put(fd, entry{interest: interest, generation: s.nextGeneration()})
	return nil
}

func (s *kqueueSet) Remove(fd int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.get(fd).interest
	if before == 0 {
		return nil
	}
	s.put(fd, entry{})
	for _, f := range filters {
		if before&f.bit != 0 {
			if err := forget(s.fd, fd, f.filter); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *kqueueSet) Wait(events []Event, timeoutNs int64) (int, bool, error) {
	n, err := s.harvest(events)
	if n > 0 || err != nil || timeoutNs == 0 {
		return n, false, err
	}
	return s.Block(events, timeoutNs)
}

func (s *kqueueSet) Block(events []Event, timeoutNs int64) (int, bool, error) {
	return block(s, s.waker, events, timeoutNs)
}

// harvest collects what is ready, under the lock, so that no registration changes between
// what the kernel reports and what the table says.
func (s *kqueueSet) harvest(events []Event) (int, error) {
	if len(s.raw) < len(events) {
		s.raw = make([]unix.Kevent_t, len(events))
	}
	raw := s.raw[:len(events)]
	s.mu.Lock()
	defer s.mu.Unlock()
	var now unix.Timespec
	count, err := unix.Kevent(s.fd, nil, raw, &now)
	for err == unix.EINTR {
		count, err = unix.Kevent(s.fd, nil, raw, &now)
	}
	if err != nil {
		return 0, err
	}
	n := 0
	for i := range raw[:count] {
		fd := int(raw[i].Ident)
		mask := Read
		if int(raw[i].Filter) == unix.EVFILT_WRITE {
			mask = Write
		}
		if mask &= s.get(fd).interest; mask != 0 {
			events[n] = Event{Fd: int32(fd), Mask: mask}
			n++
		}
	}
	if n < count {
		return n, ErrStale
	}
	return n, nil
}

func (s *kqueueSet) sleep(timeoutNs int64) (ready, woken bool, err error) {
	var timeout *unix.Timespec
	if timeoutNs >= 0 {
		ts := unix.NsecToTimespec(timeoutNs)
		timeout = &ts
	}
	var raw [2]unix.Kevent_t
	count, err := unix.Kevent(s.outer, nil, raw[:], timeout)
	if err == unix.EINTR {
		return false, false, nil
	}
	for i := range raw[:max(count, 0)] {
		if int(raw[i].Ident) == s.fd {
			ready = true
		} else {
			woken = true
		}
	}
	return ready, woken, err
}

func (s *kqueueSet) Rebuild() (int, error) {
	fresh, err := newKqueue()
	if err != nil {
		return -1, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for fd, e := range s.entries {
		for _, f := range filters {
			if e.interest&f.bit == 0 {
				continue
			}
			if err := change(fresh, fd, f.filter, unix.EV_ADD); err == unix.EBADF {
				s.put(fd, entry{})
				break
			} else if err != nil {
				_ = unix.Close(fresh)
				return -1, err
			}
		}
	}
	if err := change(s.outer, fresh, unix.EVFILT_READ, unix.EV_ADD); err != nil {
		_ = unix.Close(fresh)
		return -1, err
	}
	if err := forget(s.outer, s.fd, unix.EVFILT_READ); err != nil {
		_ = unix.Close(fresh)
		return -1, err
	}
	old := s.fd
	s.fd = fresh
	return old, nil
}

func (s *kqueueSet) Close(keepFd bool) {
	_ = unix.Close(s.outer)
	if !keepFd {
		_ = unix.Close(s.fd)
	}
}
