package main

/*
#include "atoms.h"
#include "callback.h"
#include "task_pool.h"
#include <erl_nif.h>
*/
import "C"

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"erlang_python/nif/internal/registry"
)

// pendingCall is a call of Python that Erlang has not answered. Its id, the handle in `calls`, goes with the message
// to the callback server and comes back with the answer. Who answers depends on who waits:
//
//	waiter  a thread, in erlang.call
//	future  a future of the loop with that handle (0: a loop that is not ours), in erlang.async_call
//	task    nobody: the answer is that of a task which returned erlang.schedule()
//
// A call of a thread is used again, so its state says which id it is about: id<<3 | phase. The other two are used once,
// and whoever removes them from the registry answers them.
//
//	waiting → answering → answered   who answers: the answer is written between the two steps
//	waiting → withdrawn              the thread: timeout, or an exception
type pendingCall struct {
	state  atomic.Uint64
	epoch  uint64 // of the callback server that it was sent to
	c      *C.answer
	waiter *waiter
	origin atomic.Uint64 // of a thread's call: the call whose callback the thread works for, or 0
	future unsafe.Pointer
	loop   uint64
	task   *task
}

const (
	callWaiting = iota
	callAnswering
	callAnswered
	callWithdrawn
)

const callPhaseBits = 3

var calls = registry.New[pendingCall]()

// callbacks is what the callback server told the core.
var callbacks struct {
	server atomic.Pointer[C.ErlNifPid]
	epoch  atomic.Uint64
	names  sync.Map // string -> struct{}: the functions that are registered
}

// callbackServer is the process that starts callbacks; false when there is none.
func callbackServer(to *C.ErlNifPid) bool {
	server := callbacks.server.Load()
	if server == nil {
		return false
	}
	*to = *server
	return true
}

// ofNoServer is the epoch of calls that no callback server answers.
const ofNoServer = math.MaxUint64

// register makes the call waiting under a new id; epoch is that of the callback server.
func (p *pendingCall) register(epoch uint64) uint64 {
	p.epoch = epoch
	id := calls.Add(p)
	p.state.Store(callWord(id, callWaiting))
	// Who closes the calls of that server may not have seen this one. (A task's is looked for again by who sends it.)
	if epoch != ofNoServer && p.task == nil && callbacks.epoch.Load() != epoch {
		p.finish(id, C.ANSWER_CLOSED, C.atoms.undefined)
	}
	return id
}

// callWord is the state of a call: its id and its phase in one word, which are changed together.
func callWord(id, phase uint64) uint64 { return id<<callPhaseBits | phase }

func (p *pendingCall) id() uint64 { return p.state.Load() >> callPhaseBits }

func (p *pendingCall) inPhase(id, phase uint64) bool {
	return p.state.Load() == callWord(id, phase)
}

func (p *pendingCall) transition(id, from, to uint64) bool {
	return p.state.CompareAndSwap(callWord(id, from), callWord(id, to))
}

// withdraw is the thread's decision not to wait any more: false when the answer came first, which is then complete.
func (p *pendingCall) withdraw(id uint64) bool {
	if p.transition(id, callWaiting, callWithdrawn) {
		return true
	}
	for p.inPhase(id, callAnswering) {
		runtime.Gosched()
	}
	return false
}

// answer gives the waiting thread its answer, a term of any environment, of which a copy is kept; false when it does not
// wait any more.
func (p *pendingCall) answer(id uint64, status C.answer_status, term C.ERL_NIF_TERM) bool {
	if !p.transition(id, callWaiting, callAnswering) {
		return false
	}
	p.c.status = C.int32_t(status)
	p.c.term = C.enif_make_copy(p.c.env, term)
	w := p.waiter
	p.state.Store(callWord(id, callAnswered))
	w.waker.Wake()
	return true
}

// finish answers a call that was found under the id. When the answer is that of a task that somebody waits for, the
// caller has to send it: the result is then the task, to be given back.
func (p *pendingCall) finish(id uint64, status C.answer_status, term C.ERL_NIF_TERM) *task {
	if p.waiter != nil {
		p.answer(id, status, term)
		return nil
	}
	if calls.Remove(id) == nil {
		return nil
	}
	if p.task == nil {
		p.resolve(status, term)
		return nil
	}
	if !C.task_claim(p.task.c) {
		p.task.put()
		return nil
	}
	return p.task
}

// resolve brings the answer to the future: as a task of our loop, which runs it among the others, or through a thread of
// our own to a loop that is not ours.
func (p *pendingCall) resolve(status C.answer_status, term C.ERL_NIF_TERM) {
	if l := loops.Get(p.loop); l != nil {
		if c := C.task_pool_get(); c != nil {
			C.task_prepare_resolution(c, p.future, C.int32_t(status), term)
			if accepted, _ := l.submit(c); accepted {
				return
			}
			c.object = nil
			C.task_pool_put(c)
		}
	}
	env := C.enif_alloc_env()
	copied := C.enif_make_copy(env, term)
	future := p.future
	errands.do(func(state unsafe.Pointer) {
		C.callback_resolve_threadsafe(state, future, C.int(status), env, copied)
	})
}

// closeCalls answers all calls that were sent to a callback server before the one of that epoch.
func closeCalls(epoch uint64) {
	calls.Range(func(id uint64, p *pendingCall) bool {
		if p.epoch >= epoch {
			return true
		}
		if p.task != nil {
			if calls.Remove(id) != nil {
				p.task.fail(C.atoms.closed)
			}
			return true
		}
		p.finish(id, C.ANSWER_CLOSED, C.atoms.undefined)
		return true
	})
}

// endCallbacks ends the service of a session: what waits is answered as closed. Runs on the main thread.
func endCallbacks() {
	callbacks.server.Store(nil)
	closeCalls(callbacks.epoch.Add(1))
	endChannels()
	waiters.Range(func(_ uint64, w *waiter) bool {
		w.waker.Wake() // those that sleep look at the session
		return true
	})
}

// core_call_begin_async makes a call whose answer goes to a future, whose reference it takes unless the result is 0.
//
//export core_call_begin_async
func core_call_begin_async(loop C.uint64_t, future unsafe.Pointer, to *C.ErlNifPid) C.uint64_t {
	defer guardCallback("call_begin_async")
	if !callbackServer(to) {
		return 0
	}
	p := &pendingCall{future: future, loop: uint64(loop)}
	return C.uint64_t(p.register(callbacks.epoch.Load()))
}

// core_call_begin_task makes a call whose answer is that of a task.
//
//export core_call_begin_task
func core_call_begin_task(slot C.uint64_t, to *C.ErlNifPid) C.uint64_t {
	defer guardCallback("call_begin_task")
	if !callbackServer(to) {
		return 0
	}
	p := &pendingCall{task: taskBySlot(slot)}
	return C.uint64_t(p.register(callbacks.epoch.Load()))
}

// core_call_forget takes back a call of a future or task that could not be sent, and drops the future: true unless it
// was answered meanwhile.
//
//export core_call_forget
func core_call_forget(id C.uint64_t) C.bool {
	defer guardCallback("call_forget")
	p := calls.Remove(uint64(id))
	if p == nil {
		return false
	}
	if p.future != nil {
		dropLater(p.future)
	}
	return true
}

//export core_drop_later
func core_drop_later(object unsafe.Pointer) {
	defer guardCallback("drop_later")
	dropLater(object)
}

// dropLater gives up a reference to a Python object, soon. Safe on any thread, with or without the GIL.
func dropLater(object unsafe.Pointer) {
	errands.do(func(state unsafe.Pointer) { C.callback_drop(state, object) })
}

//export core_callback_known
func core_callback_known(text *C.char, size C.int) C.int {
	defer guardCallback("callback_known")
	if _, found := callbacks.names.Load(C.GoStringN(text, size)); found {
		return 1
	}
	return 0
}

// callThatWaits is the call in which the thread waits for the callback of the call id, directly or through the threads
// that work for it in between; 0 when it does not wait for it.
func callThatWaits(thread *pythonThread, id uint64) uint64 {
	identity := thread.identity.Load()
	for id != 0 {
		p := calls.Get(id)
		if p == nil || p.waiter == nil {
			return 0
		}
		if p.waiter.identity == identity {
			return id
		}
		id = p.origin.Load()
	}
	return 0
}

// submitNested has the thread that waits in a call run a task; false when it does not wait any more.
func submitNested(id uint64, t *task) bool {
	p := calls.Get(id)
	return p != nil && p.waiter != nil && p.waiter.submit(p, id, t)
}

// nestedPromising tells whether the thread that waits in a call would see a task at once.
func nestedPromising(id uint64) bool {
	p := calls.Get(id)
	return maySpin && p != nil && p.waiter != nil && p.waiter.watching.Load()
}
