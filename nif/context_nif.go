package main

/*
#include "atoms.h"
#include "resource.h"
#include "task.h"
#include <erl_nif.h>
#cgo noescape resource_handle
#cgo nocallback resource_handle
#cgo noescape task_await
#cgo nocallback task_await
*/
import "C"

import "unsafe"

// contextArgument is the context in a term; nil where the choice says how one is found.
func contextArgument(env *C.ErlNifEnv, term C.ERL_NIF_TERM) (c *pythonContext, choice choice) {
	if handle := C.resource_handle(env, term, C.RESOURCE_CONTEXT); handle != 0 {
		if c := contexts.Get(uint64(handle)); c != nil {
			return c, choiceNamed
		}
		return nil, choiceGone
	}
	if id, ok := getInteger(env, term); ok && id > 0 {
		return nil, choiceNested
	}
	switch term {
	case makeAtom(env, "own"):
		return nil, choiceOwn
	case makeAtom(env, "any"):
		return nil, choiceAny
	}
	return nil, choiceInvalid
}

// callTarget is where a call is to run: the context or choice that contextArgument tells, and, for a process that
// executes a callback, the id of the call that it executes (0: none) and of the one in whose wait the task is to run.
// Such a process names a thread that may wait for it by {Context, Id}.
func callTarget(env *C.ErlNifEnv, term C.ERL_NIF_TERM) (c *pythonContext, choice choice, origin, within uint64) {
	c, choice = contextArgument(env, term)
	switch choice {
	case choiceNested:
		id, _ := getInteger(env, term)
		return c, choice, uint64(id), uint64(id)
	case choiceInvalid:
		var arity C.int
		var elements *C.ERL_NIF_TERM
		if C.enif_get_tuple(env, term, &arity, &elements) == 0 || arity != 2 {
			return nil, choiceInvalid, 0, 0
		}
		pair := arguments(arity, elements)
		id, ok := getInteger(env, pair[1])
		if c, choice = contextArgument(env, pair[0]); choice == choiceNamed && ok {
			return c, choice, uint64(id), callThatWaits(c.thread, uint64(id))
		}
	}
	return c, choice, 0, 0
}

type choice int

const (
	choiceInvalid choice = iota
	choiceGone           // a context of an earlier run of the application
	choiceNamed
	choiceOwn // the process's own, bound at its first call
	choiceAny // whichever is free
	// choiceNested is the id of the call that a callback executes: the thread that waits in it, or the process's own
	// when it does not wait any more.
	choiceNested
)

// submitCall is what context_call and context_cast share. The first argument names the context; callTarget told the
// rest.
func submitCall(env *C.ErlNifEnv, argv []C.ERL_NIF_TERM, phase C.task_phase, c *pythonContext, choice choice,
	origin, within uint64) (t *task, generation uint64, problem C.ERL_NIF_TERM) {
	current := python.session.Load()
	switch {
	case choice == choiceInvalid:
		return nil, 0, C.enif_make_badarg(env)
	case choice == choiceGone || current == nil:
		return nil, 0, makeError(env, C.atoms.closed)
	}
	t = submission(env, argv[1:], phase)
	if t == nil {
		return nil, 0, C.enif_make_badarg(env)
	}
	generation = t.generation()
	t.c.origin = C.uint64_t(origin)
	if within != 0 && submitNested(within, t) {
		return t, generation, 0
	}
	var accepted bool
	var reason C.ERL_NIF_TERM
	if choice == choiceNamed {
		accepted, reason = c.submitOrFollow(t)
	} else {
		accepted, reason = current.contexts.submitShared(env, t, choice != choiceAny)
	}
	if !accepted {
		t.put()
		return nil, 0, makeError(env, reason)
	}
	return t, generation, 0
}

// core_context_call(Context, Reference, Kind, Module, Function, Arguments, Keywords, Flags) answers the result when it
// comes within awaitLimit, and else the task's id: {async_result, Reference, Result} will follow.
//
//export core_context_call
func core_context_call(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	phase := C.task_phase(C.TASK_QUEUED)
	c, choice, origin, within := callTarget(env, args[0])
	if within != 0 && nestedPromising(within) || within == 0 && choice == choiceNamed && c.promising() {
		phase = C.TASK_AWAITED
	}
	t, generation, problem := submitCall(env, args, phase, c, choice, origin, within)
	if t == nil {
		return problem
	}
	if phase == C.TASK_AWAITED {
		var answer C.ERL_NIF_TERM
		if C.task_await(env, t.c, C.uint64_t(generation), awaitLimit, &answer) {
			t.put()
			return answer
		}
	}
	return C.enif_make_uint64(env, C.ErlNifUInt64(t.id(generation)))
}

// core_context_cast takes what context_call takes; nobody hears of the result.
//
//export core_context_cast
func core_context_cast(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	c, choice, origin, within := callTarget(env, args[0])
	t, _, problem := submitCall(env, args, C.TASK_SILENT, c, choice, origin, within)
	if t == nil {
		return problem
	}
	return C.atoms.ok
}

// core_context_lookup() is {ok, Context} for a process that is bound to one, else none.
//
//export core_context_lookup
func core_context_lookup(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	var pid C.ErlNifPid
	current := python.session.Load()
	if current == nil || C.enif_self(env, &pid) == nil {
		return C.atoms.none
	}
	if c := current.contexts.lookup(pid.pid); c != nil {
		return makeOk(env, c.term(env))
	}
	return C.atoms.none
}

// core_context_acquire(own | Number) is {ok, Context}: the caller's own, or the one of that number.
//
//export core_context_acquire
func core_context_acquire(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	current := python.session.Load()
	if current == nil {
		return makeError(env, C.atoms.closed)
	}
	term := arguments(argc, argv)[0]
	var c *pythonContext
	var err error
	if n, ok := getInteger(env, term); ok {
		if n < 1 || n > int64(current.config.contexts) {
			return C.enif_make_badarg(env)
		}
		c, err = current.contexts.numbered(int(n))
	} else if term == makeAtom(env, "own") {
		var pid C.ErlNifPid
		C.enif_self(env, &pid)
		c, err = current.contexts.acquire(env, pid)
	} else {
		return C.enif_make_badarg(env)
	}
	switch err {
	case nil:
		return makeOk(env, c.term(env))
	case errClosed:
		return makeError(env, C.atoms.closed)
	default:
		return makeError(env, makeBinary(env, err.Error()))
	}
}

// core_context_of_call(Call) is {ok, Context} for the context whose thread waits in a call of Python to Erlang, else none.
//
//export core_context_of_call
func core_context_of_call(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	id, ok := getInteger(env, arguments(argc, argv)[0])
	if !ok || id < 0 {
		return C.enif_make_badarg(env)
	}
	result = C.atoms.none
	p := calls.Get(uint64(id))
	if p == nil || p.waiter == nil {
		return result
	}
	contexts.Range(func(_ uint64, c *pythonContext) bool {
		if c.thread == nil || c.thread.identity.Load() != p.waiter.identity {
			return true
		}
		result = makeOk(env, c.term(env))
		return false
	})
	return result
}

//export core_context_info
func core_context_info(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	c, choice := contextArgument(env, arguments(argc, argv)[0])
	switch choice {
	case choiceNamed:
		return makeOk(env, c.describe(env))
	case choiceGone:
		return makeError(env, C.atoms.closed)
	default:
		return C.enif_make_badarg(env)
	}
}

func (c *pythonContext) term(env *C.ErlNifEnv) C.ERL_NIF_TERM {
	return C.enif_make_resource(env, unsafe.Pointer(c.resource))
}
