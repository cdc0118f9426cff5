package main

/*
#include "atoms.h"
#include "callback.h"
#include "task.h"
*/
import "C"

import (
	"runtime"
	"sync"
	"sync/atomic"

	"erlang_python/nif/internal/pollset"
	"erlang_python/nif/internal/registry"
	"erlang_python/nif/internal/spin"
	"erlang_python/nif/internal/wake"
)

// waiter is an OS thread that waits for answers of Erlang: a context's, a loop's or any other thread of Python. While
// it waits it runs the tasks that the processes of its callbacks want run (nested), so that Python, Erlang and Python
// can call each other to any depth.
//
// Calls nest like the thread's stack. Only the thread itself uses `calls`, `free` and `spin`.
type waiter struct {
	handle   uint64
	identity uint64 // threading.get_ident()
	waker    *wake.Waker
	spin     spin.Policy
	calls    []*pendingCall // innermost last
	free     []*pendingCall

	watching    atomic.Bool  // it spins: an answer to a nested task may come at once
	nestedCount atomic.Int32 // len(nested), to be looked at without the lock
	interrupted atomic.Bool

	mu     sync.Mutex
	nested []nestedTask
}

// nestedTask is a task for the thread that waits in the call of that id.
type nestedTask struct {
	task *task
	call uint64
}

// waiterKeep bounds how many finished calls a thread keeps for the next ones.
const waiterKeep = 8

var (
	waiters = registry.New[waiter]()
	// spinners counts the waiters that spin. More of them than processors would keep the callbacks from running.
	spinners    atomic.Int32
	maxSpinners = int32(max(1, runtime.NumCPU()/2))
)

//export core_waiter_new
func core_waiter_new(identity C.ulong) C.uint64_t {
	defer guardCallback("waiter_new")
	waker, err := wake.New()
	if err != nil {
		return 0
	}
	w := &waiter{identity: uint64(identity), waker: waker, spin: spin.New(spinLimit)}
	w.handle = waiters.Add(w)
	return C.uint64_t(w.handle)
}

//export core_waiter_free
func core_waiter_free(handle C.uint64_t) {
	defer guardCallback("waiter_free")
	w := waiters.Remove(uint64(handle))
	if w == nil {
		return
	}
	for _, p := range w.free {
		C.answer_free(p.c)
	}
	w.free = nil
	w.waker.Close()
}

// interruptWaiter makes the thread of that threading.get_ident(), if it waits, look for exceptions that were raised in
// it.
func interruptWaiter(identity uint64) {
	waiters.Range(func(_ uint64, w *waiter) bool {
		if w.identity == identity {
			w.interrupted.Store(true)
			w.waker.Wake()
		}
		return true
	})
}

// submit has the thread run a task within the call of that id; false when that call does not wait any more.
func (w *waiter) submit(p *pendingCall, id uint64, t *task) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !p.inPhase(id, callWaiting) {
		return false
	}
	w.nested = append(w.nested, nestedTask{t, id})
	w.nestedCount.Store(int32(len(w.nested)))
	// Again, now that end() would see the task: one of the two notices.
	if !p.inPhase(id, callWaiting) {
		w.nested = w.nested[:len(w.nested)-1]
		w.nestedCount.Store(int32(len(w.nested)))
		return false
	}
	w.waker.Wake()
	return true
}

func (w *waiter) takeNested() *task {
	if w.nestedCount.Load() == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.nested) == 0 {
		return nil
	}
	t := w.nested[0].task
	w.nested[0].task = nil
	w.nested = w.nested[1:]
	w.nestedCount.Store(int32(len(w.nested)))
	if len(w.nested) == 0 {
		w.nested = nil
	}
	return t
}

// withdrawNested gives back the tasks of a call that waits no more.
func (w *waiter) withdrawNested(id uint64) []*task {
	w.mu.Lock()
	defer w.mu.Unlock()
	var left []*task
	kept := w.nested[:0]
	for _, n := range w.nested {
		if n.call == id {
			left = append(left, n.task)
		} else {
			kept = append(kept, n)
		}
	}
	w.nested = kept
	w.nestedCount.Store(int32(len(kept)))
	return left
}

// begin makes a call on this thread, which runs a task that the callback of the call origin submitted (0: none did), to
// the callback server of that epoch.
func (w *waiter) begin(origin, epoch uint64) uint64 {
	var p *pendingCall
	if n := len(w.free); n > 0 {
		p = w.free[n-1]
		w.free = w.free[:n-1]
	} else {
		c := C.answer_new()
		if c == nil {
			return 0
		}
		p = &pendingCall{c: c, waiter: w}
	}
	p.origin.Store(origin)
	id := p.register(epoch)
	w.calls = append(w.calls, p)
	return id
}

// end ends the innermost call: nothing is answered to it any more.
func (w *waiter) end() {
	n := len(w.calls) - 1
	p := w.calls[n]
	w.calls[n] = nil
	w.calls = w.calls[:n]
	id := p.id()
	p.withdraw(id)
	calls.Remove(id)
	if w.nestedCount.Load() > 0 {
		for _, t := range w.withdrawNested(id) {
			t.submitAnywhere()
		}
	}
	if len(w.free) < waiterKeep {
		C.answer_reset(p.c)
		w.free = append(w.free, p)
	} else {
		C.answer_free(p.c)
	}
}

// submitAnywhere gives a task whose thread is not available to whichever context is free. Not on a BEAM thread.
func (t *task) submitAnywhere() {
	reason := C.atoms.closed
	if current := python.session.Load(); current != nil {
		accepted := false
		if accepted, reason = current.contexts.submitShared(nil, t, false); accepted {
			return
		}
	}
	t.fail(reason)
}

// wait waits in the innermost call until deadline (monotonic nanoseconds, negative for ever).
func (w *waiter) wait(deadline int64, nested **C.task) C.int {
	p := w.calls[len(w.calls)-1]
	id := p.id()
	began := pollset.Now()
	for first := true; ; first = false {
		if p.inPhase(id, callAnswered) {
			w.spin.Observe(pollset.Now() - began)
			return C.CALL_ANSWERED
		}
		if t := w.takeNested(); t != nil {
			w.spin.Observe(pollset.Now() - began)
			*nested = t.c
			return C.CALL_NESTED
		}
		if w.interrupted.Swap(false) {
			return C.CALL_INTERRUPTED
		}
		if deadline >= 0 && pollset.Now() >= deadline && p.withdraw(id) {
			return C.CALL_TIMEOUT
		}
		if first && w.spinFor(p, id) {
			continue
		}
		w.sleep(p, id, deadline)
	}
}

func (w *waiter) ready(p *pendingCall, id uint64) bool {
	return !p.inPhase(id, callWaiting) || w.nestedCount.Load() > 0 || w.interrupted.Load()
}

func (w *waiter) spinFor(p *pendingCall, id uint64) bool {
	budget := w.spin.Budget()
	if budget <= 0 {
		return false
	}
	if spinners.Add(1) > maxSpinners {
		spinners.Add(-1)
		return false
	}
	defer spinners.Add(-1)
	w.watching.Store(true)
	defer w.watching.Store(false)
	end := pollset.Now() + budget
	for {
		for i := 0; i < 32; i++ {
			if w.ready(p, id) {
				return true
			}
		}
		if pollset.Now() >= end {
			return false
		}
	}
}

func (w *waiter) sleep(p *pendingCall, id uint64, deadline int64) {
	timeout := int64(-1)
	if deadline >= 0 {
		timeout = max(0, deadline-pollset.Now())
	}
	w.waker.Prepare()
	if !w.ready(p, id) {
		_, _ = w.waker.Sleep(timeout)
	}
	w.waker.Clear()
}

// pause sleeps until deadline, an interrupt or the end of the session.
func (w *waiter) pause(deadline int64) C.int {
	session := python.session.Load()
	over := func() bool { return w.interrupted.Load() || python.session.Load() != session }
	for {
		left := deadline - pollset.Now()
		switch {
		case w.interrupted.Swap(false):
			return C.CALL_INTERRUPTED
		case python.session.Load() != session:
			return C.CALL_ANSWERED
		case left <= 0:
			return C.CALL_TIMEOUT
		}
		w.waker.Prepare()
		if !over() {
			_, _ = w.waker.Sleep(left)
		}
		w.waker.Clear()
	}
}

// core_sleep answers CALL_TIMEOUT at the deadline, CALL_INTERRUPTED, or CALL_ANSWERED when the application stopped.
//
//export core_sleep
func core_sleep(handle C.uint64_t, deadline C.int64_t) (status C.int) {
	defer func() {
		if reason := recover(); reason != nil {
			status = -1
			logPanic("sleep", reason)
		}
	}()
	return waiters.Get(uint64(handle)).pause(int64(deadline))
}

//export core_call_begin
func core_call_begin(handle, origin C.uint64_t, to *C.ErlNifPid) C.uint64_t {
	defer guardCallback("call_begin")
	w := waiters.Get(uint64(handle))
	if w == nil || !callbackServer(to) {
		return 0
	}
	return C.uint64_t(w.begin(uint64(origin), callbacks.epoch.Load()))
}

// core_call_wait waits in the innermost call of the thread; for CALL_ANSWERED the answer stays until core_call_end.
//
//export core_call_wait
func core_call_wait(handle C.uint64_t, deadline C.int64_t, nested **C.task, answered **C.answer) (status C.int) {
	defer func() {
		if reason := recover(); reason != nil {
			status = -1
			logPanic("call_wait", reason)
		}
	}()
	w := waiters.Get(uint64(handle))
	status = w.wait(int64(deadline), nested)
	if status == C.CALL_ANSWERED {
		*answered = w.calls[len(w.calls)-1].c
	}
	return status
}

//export core_call_end
func core_call_end(handle C.uint64_t) {
	defer guardCallback("call_end")
	if w := waiters.Get(uint64(handle)); w != nil {
		w.end()
	}
}

// core_waiter_again queues the next step of a nested task, behind those that wait already.
//
//export core_waiter_again
func core_waiter_again(handle C.uint64_t, slot C.uint64_t) {
	defer guardCallback("waiter_again")
	w := waiters.Get(uint64(handle))
	t := taskBySlot(slot)
	if n := len(w.calls); n > 0 {
		if p := w.calls[n-1]; w.submit(p, p.id(), t) {
			return
		}
	}
	t.submitAnywhere()
}
