package main

/*
#include "atoms.h"
#include "callback.h"
#include "task.h"
#include <erl_nif.h>
*/
import "C"

// core_callback_server(Pid) names the process that gets {python_call, Id, Process, Name, Arguments}. What was sent to
// the one before is answered as closed.
//
//export core_callback_server
func core_callback_server(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	var pid C.ErlNifPid
	if C.enif_get_local_pid(env, arguments(argc, argv)[0], &pid) == 0 {
		return C.enif_make_badarg(env)
	}
	epoch := callbacks.epoch.Add(1)
	callbacks.server.Store(&pid)
	python.onMain(func() { closeCalls(epoch) })
	return C.atoms.ok
}

// core_callback_reply(Id, Status, Term) answers a call; Status 0: a value, 1: {Class, Reason, Stack, Message},
// 2: the name, which is not registered. ok, or {send, Pid, Reference} when {async_result, Reference, Result} is to be
// sent to Pid. Answers to a call that nobody waits for any more are dropped.
//
//export core_callback_reply
func core_callback_reply(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	id, ok := getInteger(env, args[0])
	status, good := getInteger(env, args[1])
	if !ok || !good || id < 0 || status < C.ANSWER_OK || status > C.ANSWER_NOT_REGISTERED {
		return C.enif_make_badarg(env)
	}
	p := calls.Get(uint64(id))
	if p == nil {
		return C.atoms.ok
	}
	t := p.finish(uint64(id), C.answer_status(status), args[2])
	if t == nil {
		return C.atoms.ok
	}
	elements := [3]C.ERL_NIF_TERM{
		makeAtom(env, "send"),
		t.c.caller.pid,
		C.enif_make_copy(env, t.c.reference),
	}
	result = C.enif_make_tuple_from_array(env, &elements[0], 3)
	t.put()
	return result
}

// core_event_loop_default(Loop) makes the loop the one that coroutines of code without a loop go to.
//
//export core_event_loop_default
func core_event_loop_default(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	l, ok := loopArgument(env, arguments(argc, argv)[0])
	if !ok {
		return C.enif_make_badarg(env)
	}
	if l != nil {
		defaultLoop.Store(l.handle)
	}
	return C.atoms.ok
}

// core_callback_names(add | remove | reset, [Name]) tells which functions are registered, by binaries.
//
//export core_callback_names
func core_callback_names(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	names, ok := getStrings(env, args[1])
	if !ok {
		return C.enif_make_badarg(env)
	}
	switch args[0] {
	case makeAtom(env, "reset"):
		callbacks.names.Clear()
		fallthrough
	case makeAtom(env, "add"):
		for _, name := range names {
			callbacks.names.Store(name, struct{}{})
		}
	case makeAtom(env, "remove"):
		for _, name := range names {
			callbacks.names.Delete(name)
		}
	default:
		return C.enif_make_badarg(env)
	}
	return C.atoms.ok
}
