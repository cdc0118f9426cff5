package main

/*
#include "atoms.h"
#include "resource.h"
#include <erl_nif.h>
*/
import "C"

// The NIFs of py_event_worker and its starter; loop_park.go says what they are for.

// core_worker_starter(Pid) names the process that gets {start_worker, Loop} when a loop first parks.
//
//export core_worker_starter
func core_worker_starter(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	var pid C.ErlNifPid
	if C.enif_get_local_pid(env, arguments(argc, argv)[0], &pid) == 0 {
		return C.enif_make_badarg(env)
	}
	python.starter.Store(&pid)
	// The workers that an earlier starter started ended with it.
	loops.Range(func(_ uint64, l *eventLoop) bool {
		if l.asked.Swap(false) {
			l.raw.lookAgain(env)
		}
		return true
	})
	return C.atoms.ok
}

// core_event_loop_set_worker(Loop, Pid) is ok, {error, ebadf} or {error, esrch}.
//
//export core_event_loop_set_worker
func core_event_loop_set_worker(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	l, ok := loopArgument(env, args[0])
	var pid C.ErlNifPid
	if !ok || C.enif_get_local_pid(env, args[1], &pid) == 0 {
		return C.enif_make_badarg(env)
	}
	if l == nil {
		return posixError(env, errEnded)
	}
	return okOr(env, l.setWorker(env, pid))
}

// onLoop answers what f does to the loop in the first argument, {error, closed} when that is closed.
func onLoop(env *C.ErlNifEnv, term C.ERL_NIF_TERM, f func(*eventLoop) C.ERL_NIF_TERM) C.ERL_NIF_TERM {
	l, ok := loopArgument(env, term)
	if !ok {
		return C.enif_make_badarg(env)
	}
	if l == nil {
		return makeError(env, C.atoms.closed)
	}
	return f(l)
}

// core_event_loop_arm(Loop): {select, Loop, undefined, ready_input} will come when the poll set is ready.
//
//export core_event_loop_arm
func core_event_loop_arm(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	return onLoop(env, arguments(argc, argv)[0], func(l *eventLoop) C.ERL_NIF_TERM {
		if err := l.arm(env); err != nil {
			return makeError(env, C.atoms.closed)
		}
		return C.atoms.ok
	})
}

// core_event_loop_ready(Loop): that message has come.
//
//export core_event_loop_ready
func core_event_loop_ready(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	return onLoop(env, arguments(argc, argv)[0], func(l *eventLoop) C.ERL_NIF_TERM {
		l.fired()
		return C.atoms.ok
	})
}

// core_event_loop_timeout(Loop, ParkId): the timer of that park has come.
//
//export core_event_loop_timeout
func core_event_loop_timeout(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	id, ok := getInteger(env, args[1])
	if !ok {
		return C.enif_make_badarg(env)
	}
	return onLoop(env, args[0], func(l *eventLoop) C.ERL_NIF_TERM {
		l.timedOut(uint64(id))
		return C.atoms.ok
	})
}

// core_event_loop_wakeup(Loop) makes a wait on the loop return: that of its thread, those of poll_events.
//
//export core_event_loop_wakeup
func core_event_loop_wakeup(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	return onRaw(env, arguments(argc, argv)[0], func(l *eventLoop) C.ERL_NIF_TERM {
		l.wake()
		l.raw.wakeup(env)
		return C.atoms.ok
	})
}
