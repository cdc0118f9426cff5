package main

/*
#include "loop_ready.h"
#include <stdbool.h>
*/
import "C"

// cancellation of the task of a key. One that is queued is answered when its turn comes and not run (core_loop_cancelled).
// An asyncio task is cancelled after the tasks that were queued before it, as if it had been queued with them: before it
// was started there is nothing to cancel.
type cancellation struct {
	key   uint64
	after uint64 // number of tasks taken from the queue
}

// cancelState is where a key is: in cancels, in handedOut, or both when it was cancelled again since.
type cancelState uint8

const (
	cancelPending cancelState = 1 << iota
	cancelHandedOut
)

func (l *eventLoop) cancel(keys ...uint64) {
	if !l.driven.Load() && l.queue.Empty() {
		return
	}
	l.mu.Lock()
	// A batch may be on its way from one number to the other, so it is counted in; it never hurts to be late, since an
	// empty queue ends the wait.
	after := uint64(l.queue.Len()) + l.taken.Load() + C.LOOP_TASKS
	if l.cancelled == nil {
		l.cancelled = make(map[uint64]cancelState)
	}
	for _, key := range keys {
		if l.cancelled[key]&cancelPending == 0 {
			l.cancels = append(l.cancels, cancellation{key, after})
			l.cancelled[key] |= cancelPending
		}
	}
	l.cancelKeys.Store(int32(len(l.cancelled)))
	l.cancelCount.Store(int32(len(l.cancels)))
	l.mu.Unlock()
	l.waker.Wake()
}

// takeCancels hands out those whose turn has come.
func (l *eventLoop) takeCancels(ready *C.loop_ready) {
	if l.cancelCount.Load() == 0 && len(l.handedOut) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetHandedOut()
	// Under the lock: a cancellation that came after the question would else be handed out before its task.
	empty := l.queue.Empty()
	n := 0
	for n < min(len(l.cancels), C.LOOP_CANCELS) && (empty || l.cancels[n].after <= l.taken.Load()) {
		key := l.cancels[n].key
		ready.cancels[n] = C.uint64_t(key)
		// The last batch may have the task, so the key counts until it has run.
		l.handedOut = append(l.handedOut, key)
		l.cancelled[key] = cancelHandedOut
		n++
	}
	ready.cancel_count = C.int32_t(n)
	l.cancels = l.cancels[n:]
	if len(l.cancels) == 0 {
		l.cancels = nil
	}
	l.cancelCount.Store(int32(len(l.cancels)))
}

func (l *eventLoop) forgetHandedOut() {
	for _, key := range l.handedOut {
		if l.cancelled[key] &^= cancelHandedOut; l.cancelled[key] == 0 {
			delete(l.cancelled, key)
		}
	}
	l.handedOut = l.handedOut[:0]
	if len(l.cancelled) == 0 {
		// A map does not shrink.
		l.cancelled = nil
	}
	l.cancelKeys.Store(int32(len(l.cancelled)))
}

// core_loop_cancelled tells whether the queued task of a key is cancelled.
//
//export core_loop_cancelled
func core_loop_cancelled(handle, key C.uint64_t) C.bool {
	defer guardCallback("loop_cancelled")
	l := loops.Get(uint64(handle))
	if l == nil {
		return false
	}
	return C.bool(l.isCancelled(uint64(key)))
}

func (l *eventLoop) isCancelled(key uint64) bool {
	if l.cancelKeys.Load() == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cancelled[key] != 0
}
