package main

/*
#include "atoms.h"
#include "resource.h"
#include "task.h"
#include <erl_nif.h>
#cgo noescape resource_handle
#cgo nocallback resource_handle
*/
import "C"

import "unsafe"

// loopArgument is the loop in a term; nil when it is closed. Not a loop at all: ok is false.
func loopArgument(env *C.ErlNifEnv, term C.ERL_NIF_TERM) (l *eventLoop, ok bool) {
	handle := C.resource_handle(env, term, C.RESOURCE_LOOP)
	if handle == 0 {
		return nil, false
	}
	l = loops.Get(uint64(handle))
	if l != nil && l.destroyed.Load() {
		l = nil
	}
	return l, true
}

// core_event_loop_new() is {ok, Loop}.
//
//export core_event_loop_new
func core_event_loop_new(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	l, err := newLoop()
	if err != nil {
		return posixError(env, err)
	}
	// The term keeps the loop from now on.
	defer l.letGo()
	return makeOk(env, l.term(env))
}

// core_event_loop_start(Loop) lets the loop have a thread that drives it, from its first task on. When that ends although
// nobody asked it to, because Python code took the loop apart, or another process destroys the loop, the caller gets
// {event_loop_ended, Loop}.
//
//export core_event_loop_start
func core_event_loop_start(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	l, ok := loopArgument(env, arguments(argc, argv)[0])
	if !ok {
		return C.enif_make_badarg(env)
	}
	current := python.session.Load()
	if l == nil || current == nil {
		return makeError(env, C.atoms.closed)
	}
	var owner C.ErlNifPid
	C.enif_self(env, &owner)
	if err := l.start(current.config.stackSize, &owner); err != nil {
		return makeError(env, C.atoms.closed)
	}
	return C.atoms.ok
}

// core_event_loop_destroy(Loop) ends the loop: ok, also when it is ended already. Its owner is told when it is another
// process.
//
//export core_event_loop_destroy
func core_event_loop_destroy(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	l, ok := loopArgument(env, arguments(argc, argv)[0])
	if !ok {
		return C.enif_make_badarg(env)
	}
	if l != nil {
		var caller C.ErlNifPid
		C.enif_self(env, &caller)
		l.destroy(env, caller)
	}
	return C.atoms.ok
}

// destroy ends a loop from Erlang. Whoever waits for a task of it is answered at once, since its thread may be inside
// code that does not return: by a thread of ours, which a thread of the BEAM must not do. Then the loop is closed, by its
// own thread if it has one.
func (l *eventLoop) destroy(env *C.ErlNifEnv, caller C.ErlNifPid) {
	l.mu.Lock()
	driven := l.thread != nil
	again := l.destroyed.Swap(true)
	l.mu.Unlock()
	if again {
		return
	}
	l.raw.close(env, l)
	if driven {
		// Before its tasks are answered: what cleans up then finds a loop that is ending.
		l.stop()
	}
	// The caller has a term that refers to the loop; without the others, the loop's thread would free the resource.
	C.enif_keep_resource(unsafe.Pointer(l.resource))
	go func() {
		defer guardCallback("the end of a loop")
		defer C.enif_release_resource(unsafe.Pointer(l.resource))
		l.answerAll(C.atoms.closed)
		wakeOthers()
		if !driven {
			l.close()
		}
		if owner := l.owner.Load(); owner != nil && owner.pid != caller.pid {
			l.tellOwner(*owner)
		}
	}()
}

// core_event_loop_cancel(Loop, Reference) cancels the asyncio task of a task that is suspended on the loop.
//
//export core_event_loop_cancel
func core_event_loop_cancel(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	l, ok := loopArgument(env, args[0])
	if !ok || C.enif_is_ref(env, args[1]) == 0 {
		return C.enif_make_badarg(env)
	}
	if l != nil {
		l.cancel(uint64(C.reference_key(args[1])))
	}
	return C.atoms.ok
}
