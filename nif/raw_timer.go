package main

/*
#include "atoms.h"
#include "resource.h"
#include <erl_nif.h>
*/
import "C"

import (
	"container/heap"
	"math"
	"unsafe"

	"erlang_python/nif/internal/pending"
	"erlang_python/nif/internal/pollset"
	"erlang_python/nif/internal/registry"
)

// rawTimer is what a TimerRef names. It is in its loop's heap from call_later until it fires or is cancelled, and
// holds a reference to its resource for that time, so that it fires also when nobody keeps the TimerRef.
type rawTimer struct {
	loop     *eventLoop
	resource *C.resource
	callback uint64
	deadline int64
	order    uint64 // of creation, among timers that are due together
	index    int    // in the heap, -1 outside
	fired    bool
	round    uint64 // in which it fired
}

var rawTimers = registry.New[rawTimer]()

type timerHeap struct {
	items []*rawTimer
	last  uint64
}

func (h *timerHeap) Len() int { return len(h.items) }
func (h *timerHeap) Less(i, j int) bool {
	a, b := h.items[i], h.items[j]
	return a.deadline < b.deadline || a.deadline == b.deadline && a.order < b.order
}
func (h *timerHeap) Swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.items[i].index, h.items[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*rawTimer)
	t.index = len(h.items)
	h.items = append(h.items, t)
}
func (h *timerHeap) Pop() any {
	last := len(h.items) - 1
	t := h.items[last]
	h.items[last] = nil
	h.items = h.items[:last]
	t.index = -1
	return t
}

// deadlineAfter is the monotonic time that many milliseconds from now, or the end of time.
func deadlineAfter(milliseconds int64) int64 {
	now := pollset.Now()
	if milliseconds > (math.MaxInt64-now)/1_000_000 {
		return math.MaxInt64
	}
	return now + milliseconds*1_000_000
}

// millisecondsUntil rounds up: no timer fires early.
func millisecondsUntil(deadline int64) int64 {
	left := deadline - pollset.Now()
	if left <= 0 {
		return 0
	}
	return (left-1)/1_000_000 + 1
}

func (r *rawEvents) addTimer(env *C.ErlNifEnv, t *rawTimer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errEnded
	}
	r.timers.last++
	t.order = r.timers.last
	heap.Push(&r.timers, t)
	C.enif_keep_resource(unsafe.Pointer(t.resource))
	r.tellDeadline(env, t.loop)
	if t.index == 0 {
		// Who waits in poll_events waits for the deadline that was the first one.
		r.releasePollers(env, pollAgain)
	}
	return nil
}

// removeTimer takes a timer that has neither fired nor been cancelled out of the heap.
func (r *rawEvents) removeTimer(t *rawTimer) {
	heap.Remove(&r.timers, t.index)
	C.enif_release_resource(unsafe.Pointer(t.resource))
}

func (r *rawEvents) fire(t *rawTimer) {
	t.fired, t.round = true, r.round
	r.addTimerEvent(t.callback)
	r.removeTimer(t)
}

// addTimerEvent reports a timer event, and counts it: events of one callback are merged, and one of them may be taken
// back by cancelTimer.
func (r *rawEvents) addTimerEvent(callback uint64) {
	if r.fired == nil {
		r.fired = make(map[uint64]int)
	}
	r.fired[callback]++
	r.pending.Add(callback, pending.Timer)
}

func (r *rawEvents) fireDue(now int64) {
	for r.timers.Len() > 0 && r.timers.items[0].deadline <= now {
		r.fire(r.timers.items[0])
	}
}

// cancelTimer: get_pending will not report the timer, also when it has fired already.
func (r *rawEvents) cancelTimer(t *rawTimer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return errEnded
	case t.index >= 0:
		r.removeTimer(t)
	case t.fired && t.round == r.round:
		t.fired = false
		// Another timer of that callback may have fired, too.
		if r.fired[t.callback]--; r.fired[t.callback] == 0 {
			delete(r.fired, t.callback)
			r.pending.Discard(t.callback, pending.Timer)
		}
	}
	return nil
}

// dispatchTimer: its time has come, says the caller.
func (r *rawEvents) dispatchTimer(env *C.ErlNifEnv, l *eventLoop, t *rawTimer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errEnded
	}
	if t.index >= 0 {
		r.fire(t)
	}
	r.fireDue(pollset.Now())
	r.announce(env)
	r.hint = 0
	r.tellDeadline(env, l)
	return nil
}

// dispatchCallback reports a timer event for a callback without a timer.
func (r *rawEvents) dispatchCallback(env *C.ErlNifEnv, callback uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errEnded
	}
	r.addTimerEvent(callback)
	r.announce(env)
	return nil
}

// tellDeadline gives the worker the next deadline, unless it has one that is not later: {timer, TimerRef, Delay}.
func (r *rawEvents) tellDeadline(env *C.ErlNifEnv, l *eventLoop) {
	worker := l.worker.Load()
	if worker == nil || r.timers.Len() == 0 {
		return
	}
	t := r.timers.items[0]
	if r.hint != 0 && r.hint <= t.deadline {
		return
	}
	message := C.enif_alloc_env()
	if message == nil {
		return
	}
	defer C.enif_free_env(message)
	elements := [3]C.ERL_NIF_TERM{makeAtom(message, "timer"),
		C.enif_make_resource(message, unsafe.Pointer(t.resource)), makeInteger(message, millisecondsUntil(t.deadline))}
	to := *worker
	if C.enif_send(env, &to, message, C.enif_make_tuple_from_array(message, &elements[0], 3)) != 0 {
		r.hint = t.deadline
	}
}

func (r *rawEvents) dropTimers() {
	for r.timers.Len() > 0 {
		r.removeTimer(r.timers.items[0])
	}
}
