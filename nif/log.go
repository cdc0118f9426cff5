package main

/*
#include "atoms.h"
#include <erl_nif.h>
*/
import "C"

import (
	"fmt"
	"runtime/debug"
)

// Log events go to the log receiver (py_log.erl) as {python_log, Event}, Event a text or an exception term. They are
// sent by the main thread, so that anybody may log: destructors, monitors and NIFs must not send messages themselves.

func logEvent(text string) {
	python.onMain(func() {
		env := C.enif_alloc_env()
		sendLog(env, makeBinary(env, text))
	})
}

func logPanic(where string, reason any) {
	logEvent(fmt.Sprintf("panic in %s: %v\n%s", where, reason, debug.Stack()))
}

// core_log_exception reports {Class, Message, Traceback}, a term of env, which it takes.
//
//export core_log_exception
func core_log_exception(env *C.ErlNifEnv, exception C.ERL_NIF_TERM) {
	defer guardCallback("log_exception")
	python.onMain(func() { sendLog(env, exception) })
}

// sendLog frees env.
func sendLog(env *C.ErlNifEnv, event C.ERL_NIF_TERM) {
	defer C.enif_free_env(env)
	if receiver := python.logger.Load(); receiver != nil {
		to := *receiver
		C.enif_send(nil, &to, env, makeTuple2(env, makeAtom(env, "python_log"), event))
	}
}

// core_log_receiver names the process that gets the log events.
//
//export core_log_receiver
func core_log_receiver(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	var pid C.ErlNifPid
	if C.enif_get_local_pid(env, arguments(argc, argv)[0], &pid) == 0 {
		return C.enif_make_badarg(env)
	}
	python.logger.Store(&pid)
	return C.atoms.ok
}
