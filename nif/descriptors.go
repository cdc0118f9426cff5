package main

/*
#include <stdbool.h>
*/
import "C"

// core_owns_descriptor tells whether a descriptor is one with which a thread of the core waits.
//
//export core_owns_descriptor
func core_owns_descriptor(fd C.int) (owned C.bool) {
	defer guardCallback("owns_descriptor")
	wanted := int(fd)
	look := func(own int) bool {
		owned = owned || C.bool(own == wanted)
		return !bool(owned)
	}
	loops.Range(func(_ uint64, l *eventLoop) bool {
		// The poll set's may be replaced meanwhile.
		l.mu.Lock()
		defer l.mu.Unlock()
		return look(l.set.Fd()) && look(l.waker.Fd())
	})
	threads.Range(func(_ uint64, t *pythonThread) bool { return look(t.waker.Fd()) })
	waiters.Range(func(_ uint64, w *waiter) bool { return look(w.waker.Fd()) })
	return owned
}
