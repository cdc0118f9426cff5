package main

/*
#include "atoms.h"
#include "interrupt.h"
#include "python_runtime.h"
#include <erl_nif.h>
*/
import "C"

import (
	"time"
	"unsafe"
)

// interruptTask raises KeyboardInterrupt in the task of that id, if a thread runs it. It takes effect when the code next
// runs a bytecode, so not while it is inside a C function other than ours that wait. Any thread.
func interruptTask(id uint64) {
	interrupts.do(func(state unsafe.Pointer) { raiseIn(state, C.interrupt_request(), id) })
}

// interruptTries bounds how often, at intervals of a millisecond, a thread is looked at that runs nothing which may be
// interrupted: it is about to, waits for the GIL, or is done.
const interruptTries = 100

// interrupt raises SystemExit, as interruptTask does its exception, in what the thread runs and what it goes on with in
// the same run of its loop or batch, unless running is false by then. Any thread.
func (t *pythonThread) interrupt(running func() bool) {
	if !running() {
		return
	}
	interrupts.do(func(state unsafe.Pointer) {
		for range interruptTries {
			request := C.interrupt_request()
			if !running() || raiseIn(state, request, t.handle|C.INTERRUPT_THREAD_BIT) {
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
}

func raiseIn(state unsafe.Pointer, request C.uint64_t, id uint64) bool {
	var identity C.ulong
	raised := bool(C.interrupt_raise(state, request, C.uint64_t(id), &identity))
	if raised {
		interruptWaiter(uint64(identity))
	}
	return raised
}

// core_task_interrupt(Id) raises KeyboardInterrupt in a task that was cancelled, if it runs.
//
//export core_task_interrupt
func core_task_interrupt(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	id, ok := getInteger(env, arguments(argc, argv)[0])
	if !ok || id < 0 {
		return C.enif_make_badarg(env)
	}
	interruptTask(uint64(id))
	return C.atoms.ok
}

// core_context_interrupt(Context) is ok, or {error, idle | closed}.
//
//export core_context_interrupt
func core_context_interrupt(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	c, choice := contextArgument(env, arguments(argc, argv)[0])
	switch choice {
	case choiceNamed:
		id := uint64(C.interrupt_running(C.ulong(c.thread.identity.Load())))
		if c.closed.Load() {
			return makeError(env, C.atoms.closed)
		}
		if id == C.INTERRUPT_NOTHING || id&C.INTERRUPT_THREAD_BIT != 0 {
			return makeError(env, makeAtom(env, "idle"))
		}
		interruptTask(id)
		return C.atoms.ok
	case choiceGone:
		return makeError(env, C.atoms.closed)
	default:
		return C.enif_make_badarg(env)
	}
}

// core_context_replace(Context) is ok, or {error, closed}.
//
//export core_context_replace
func core_context_replace(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	c, choice := contextArgument(env, arguments(argc, argv)[0])
	switch choice {
	case choiceNamed:
		switch err := c.pool.replace(c); err {
		case nil:
			return C.atoms.ok
		case errClosed:
			return makeError(env, C.atoms.closed)
		default:
			return makeError(env, makeBinary(env, err.Error()))
		}
	case choiceGone:
		return makeError(env, C.atoms.closed)
	default:
		return C.enif_make_badarg(env)
	}
}
