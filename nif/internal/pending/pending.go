package pending

import "sync"

// Kind says what happened.
type Kind uint8

// The kinds of events.
const (
	Read Kind = iota + 1
	Write
	Timer
)

// Event is one thing that happened for a callback.
type Event struct {
	CallbackID uint64
	Kind       Kind
}

// keep is the capacity above which buffers are left to the garbage collector rather than kept:
// one burst must not hold its memory for the life of the loop.
const keep = 4096

// Set is an ordered set of events. All methods are for any thread. Its zero value is empty and
// ready for use.
//
// The lock is held while an event is put in and while the buffers are swapped, never while
// somebody builds terms or objects out of events.
type Set struct {
	mu     sync.Mutex
	order  []Event
	seen   map[Event]struct{}
	spare  []Event
	closed bool
}

// Add puts an event in, unless the same one is waiting already, and tells whether the set was
// empty before, which is when somebody who waits for events has to be told.
func (s *Set) Add(callbackID uint64, kind Kind) (wasEmpty bool) {
	e := Event{callbackID, kind}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if _, again := s.seen[e]; again {
		return false
	}
	if s.seen == nil {
		s.seen = make(map[Event]struct{})
	}
	s.seen[e] = struct{}{}
	if s.order == nil {
		s.order, s.spare = s.spare, nil
	}
	s.order = append(s.order, e)
	return len(s.order) == 1
}

// Discard forgets a waiting event, for a callback that was cancelled, and tells whether it was
// there.
func (s *Set) Discard(callbackID uint64, kind Kind) bool {
	e := Event{callbackID, kind}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, waiting := s.seen[e]; !waiting {
		return false
	}
	delete(s.seen, e)
	for i := range s.order {
		if s.order[i] == e {
			s.order = append(s.order[:i], s.order[i+1:]...)
			break
		}
	}
	return true
}

// Detach takes all events in the order of their arrival. The slice belongs to the caller until
// it gives it to Recycle.
func (s *Set) Detach() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.order
	s.order = nil
	if len(events) > keep {
		s.seen = nil
	} else {
		clear(s.seen)
	}
	return events
}

// Recycle gives the memory of a detached slice back, so that a loop at work allocates nothing.
func (s *Set) Recycle(events []Event) {
	if cap(events) == 0 || cap(events) > keep {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if cap(s.spare) < cap(events) {
		s.spare = events[:0]
	}
}

// Len is the number of waiting events.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.order)
}

// Close makes later Adds do nothing; what waits can still be detached.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}
