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

// guard ends every exported NIF: a panic that crossed into C would kill the VM, so it becomes
// {error, {core_panic, Text}} with the Go stack in the text.
func guard(env *C.ErlNifEnv, result *C.ERL_NIF_TERM) {
	if reason := recover(); reason != nil {
		text := fmt.Sprintf("%v\n%s", reason, debug.Stack())
		*result = makeError(env, makeTuple2(env, makeAtom(env, "core_panic"), makeBinary(env, text)))
	}
}

// guardCallback ends every export that has no environment to answer in; the panic is reported as a log event.
func guardCallback(where string) {
	if reason := recover(); reason != nil {
		logPanic(where, reason)
	}
}
