package main

/*
#include "loop_ready.h"
*/
import "C"

// cancellation of the asyncio task of a key. It takes effect after the tasks that were queued before it, as if it had
// been queued with them: before its task was started there is nothing to cancel.
type cancellation struct {
	key   uint64
	after uint64 // number of tasks taken from the queue
}

func (l *eventLoop) cancel(keys ...uint64) {
	if !l.driven.Load() && l.queue.Empty() {
		return
	}
	l.mu.Lock()
	// A batch may be on its way from one number to the other, so it is counted in; it never hurts to be late, since an
	// empty queue ends the wait.
	after := uint64(l.queue.Len()) + l.taken.Load() + C.LOOP_TASKS
	for _, key := range keys {
		l.cancels = append(l.cancels, cancellation{key, after})
	}
	l.cancelCount.Store(int32(len(l.cancels)))
	l.mu.Unlock()
	l.waker.Wake()
}

// takeCancels hands out those whose turn has come.
func (l *eventLoop) takeCancels(ready *C.loop_ready) {
	if l.cancelCount.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// Under the lock: a cancellation that came after the question would else be handed out before its task.
	empty := l.queue.Empty()
	n := 0
	for n < min(len(l.cancels), C.LOOP_CANCELS) && (empty || l.cancels[n].after <= l.taken.Load()) {
		ready.cancels[n] = C.uint64_t(l.cancels[n].key)
		n++
	}
	ready.cancel_count = C.int32_t(n)
	l.cancels = l.cancels[n:]
	if len(l.cancels) == 0 {
		l.cancels = nil
	}
	l.cancelCount.Store(int32(len(l.cancels)))
}
