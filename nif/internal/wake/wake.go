package wake

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// States of a Waker. The owner does awake → sleeping (Prepare) and anything → awake (Clear)
// and → closed (Close, final); any other thread does sleeping → signalled (Wake).
const (
	awake uint32 = iota
	sleeping
	signalled
	closed
)

// State is what the threads that wake share with the owner. Its layout is that of wake_state in
// nif/wake_state.h, by which C does Notify: entering Go costs a thread that waited more than the
// whole call. It lives in Go's memory, pinned for as long as C may know it.
type State struct {
	state atomic.Uint32
	// Threads between the decision to write and the end of the write. Close waits for them:
	// a late write must not reach a stranger that got the same descriptor number.
	writers  atomic.Int32
	notified atomic.Uint32 // 1: Notify since the last TakeNotified
	fd       int32         // what Wake writes to; does not change
	// A cache line of its own: who looks whether a loop sleeps shall not wait for what its
	// neighbours are doing.
	_ [48]byte
}

// Offsets of the fields of a State and the values of its state that C knows, for the check that C means the same.
const (
	StateOffset    = unsafe.Offsetof(State{}.state)
	WritersOffset  = unsafe.Offsetof(State{}.writers)
	NotifiedOffset = unsafe.Offsetof(State{}.notified)
	FdOffset       = unsafe.Offsetof(State{}.fd)
	Sleeping       = sleeping
	Signalled      = signalled
)

// Waker wakes one owner thread. Wake and Notify are for any thread; everything else is for the owner.
type Waker struct {
	*State
	drained bool // owner only: the descriptor was drained since Prepare
	pipe
}

// New returns a waker whose owner is awake. It fails with the errno of the system when
// there are no descriptors left.
func New() (*Waker, error) { return NewOn(&State{}) }

// NewOn is New with memory of the caller's for what the threads that wake use. It must be zero.
func NewOn(state *State) (*Waker, error) {
	w := &Waker{State: state}
	if err := w.open(); err != nil {
		return nil, err
	}
	w.State.fd = int32(w.writeEnd())
	return w, nil
}

// Wake ends the owner's sleep, or the one that it is about to begin. It does nothing when
// the owner is awake, already woken, or closed. The work it is woken for must be visible
// before the call.
func (w *Waker) Wake() {
	if w.state.Load() != sleeping {
		return
	}
	w.writers.Add(1)
	if w.state.CompareAndSwap(sleeping, signalled) {
		w.signal()
	}
	w.writers.Add(-1)
}

// Notify is Wake for those who have nothing to show but the wake-up: TakeNotified tells of it.
func (w *Waker) Notify() {
	w.notified.Store(1)
	w.Wake()
}

// Notified tells whether Notify was called since the last TakeNotified.
func (w *Waker) Notified() bool { return w.notified.Load() != 0 }

// TakeNotified is Notified, and forgets it.
func (w *Waker) TakeNotified() bool { return w.notified.Load() != 0 && w.notified.Swap(0) != 0 }

// Sleeping tells whether the owner sleeps, or is about to, and nobody has woken it yet. It is
// a hint for statistics and for the choice between spinning and sleeping.
func (w *Waker) Sleeping() bool { return w.state.Load() == sleeping }

// Prepare announces that the owner is about to sleep. The owner looks at its work after it
// and before it sleeps.
func (w *Waker) Prepare() {
	w.drained = false
	w.state.CompareAndSwap(awake, sleeping)
}

// Sleep blocks until a Wake since Prepare or until timeout nanoseconds have passed, whichever
// is first; a negative timeout means for ever. It is never early on account of a signal, and
// may end without reason. The result tells whether it was woken.
func (w *Waker) Sleep(timeout int64) (bool, error) {
	woken, err := w.wait(timeout)
	if woken {
		w.Drain()
	}
	return woken, err
}

// Drain empties the descriptor. A poll set that finds it readable calls it, so that a
// level-triggered wait does not report the same wake-up twice.
func (w *Waker) Drain() {
	w.drain()
	w.drained = true
}

// Clear ends what Prepare began. The owner looks at its work after it.
func (w *Waker) Clear() {
	for {
		state := w.state.Load()
		if state == closed {
			return
		}
		if !w.state.CompareAndSwap(state, awake) {
			continue
		}
		if state == signalled && !w.drained {
			w.drain()
		}
		return
	}
}

// Fd is the descriptor that becomes readable by a Wake; it goes into the owner's poll set.
func (w *Waker) Fd() int { return w.readEnd() }

// Close releases the descriptors. Later calls of Wake do nothing. The descriptor must have
// left the poll set before.
func (w *Waker) Close() {
	if w.state.Swap(closed) == closed {
		return
	}
	for w.writers.Load() != 0 {
		runtime.Gosched()
	}
	w.close()
}
