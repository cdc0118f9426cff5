package pollset

import (
	"errors"
	"syscall"
)

// Interest and readiness bits.
const (
	Read  uint32 = 1
	Write uint32 = 2
)

// Event says that a descriptor is ready. Its layout is that of C's
// struct { int32_t fd; uint32_t mask; }.
type Event struct {
	Fd   int32
	Mask uint32
}

// ErrStale is returned by Wait, beside the events it found, when the kernel reported a
// descriptor that nobody registered: it was closed without Remove while a duplicate kept the
// open file alive. The kernel cannot be told to forget it and would report it for ever;
// see [Set.Rebuild].
var ErrStale = errors.New("pollset: stale registration")

// Waker is what a Set needs of wake.Waker: a descriptor that is readable after a wake-up, and
// how to make it unreadable again.
type Waker interface {
	Fd() int
	Drain()
}

// Set is a set of descriptors with one waiting thread, the owner. Add, Modify, Remove and
// Interest may be called from any thread, also during a Wait, which they affect at once; the
// rest is for the owner.
type Set interface {
	// Add registers fd for interest (Read, Write or both; 0 is EINVAL). A descriptor that is
	// already there gets the new interest. EPERM says that the system cannot poll it, as is
	// the case for regular files; EBADF that it is not open.
	Add(fd int, interest uint32) error
	// Modify replaces the interest of fd; ENOENT if it was not added.
	Modify(fd int, interest uint32) error
	// Remove forgets fd. It is no error if fd was not there, or is closed already.
	Remove(fd int) error
	// Interest is what fd is registered for, 0 if it is not.
	Interest(fd int) uint32
	// Len is the number of registered descriptors.
	Len() int
	// Wait fills events and returns how many there are, and whether the waker was readable
	// (it has been drained). A timeout below 0 waits for ever, 0 does not wait and does not
	// look at the waker; others are nanoseconds, and Wait is never early: it returns 0 events
	// only after a wake-up or when the time is over. Signals do not end it. A descriptor may
	// appear twice, once for each direction. events must not be empty.
	Wait(events []Event, timeoutNs int64) (n int, woken bool, err error)
	// Block is Wait without the look before it blocks, for an owner that has just looked.
	Block(events []Event, timeoutNs int64) (n int, woken bool, err error)
	// SetWaker puts w, or none if nil, into the set.
	SetWaker(w Waker) error
	// Fd is the descriptor that is readable while a registered descriptor is ready.
	Fd() int
	// Rebuild moves all registrations to a new kernel object and returns the old one's
	// descriptor, which the caller closes once nobody else watches it. Fd changes.
	Rebuild() (oldFd int, err error)
	// Close releases the kernel objects except, when keepFd is true, Fd, which the caller
	// then closes. The registered descriptors stay open.
	Close(keepFd bool)
}

func validInterest(interest uint32) error {
	if interest == 0 || interest&^(Read|Write) != 0 {
		return syscall.EINVAL
	}
	return nil
}
