package main

/*
#include <erl_nif.h>
#include <stdbool.h>
*/
import "C"

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// core_owns_descriptor tells whether a descriptor is one with which a thread of the core waits.
//
//export core_owns_descriptor
func core_owns_descriptor(fd C.int) (owned C.bool) {
	defer guardCallback("owns_descriptor")
	wanted := int(fd)
	look := func(own int) bool {
		owned = owned || C.bool(own == wanted)
		return !bool(owned)
	}
	loops.Range(func(_ uint64, l *eventLoop) bool {
		// The poll set's may be replaced meanwhile.
		l.mu.Lock()
		defer l.mu.Unlock()
		return look(l.set.Fd()) && look(l.waker.Fd())
	})
	threads.Range(func(_ uint64, t *pythonThread) bool { return look(t.waker.Fd()) })
	waiters.Range(func(_ uint64, w *waiter) bool { return look(w.waker.Fd()) })
	return owned
}

// core_dup_fd(Fd) is {ok, Fd2}, another descriptor of the same open file, which no program that is started inherits.
//
//export core_dup_fd
func core_dup_fd(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	fd, ok := descriptorArgument(env, arguments(argc, argv)[0])
	if !ok {
		return C.enif_make_badarg(env)
	}
	duplicate, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return posixError(env, err)
	}
	return makeOk(env, makeInteger(env, int64(duplicate)))
}

// core_close_fd(Fd) closes a descriptor, which has to be the caller's: ok or {error, Posix}.
//
//export core_close_fd
func core_close_fd(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	fd, ok := descriptorArgument(env, arguments(argc, argv)[0])
	if !ok {
		return C.enif_make_badarg(env)
	}
	return okOr(env, syscall.Close(fd))
}

func descriptorArgument(env *C.ErlNifEnv, term C.ERL_NIF_TERM) (int, bool) {
	number, ok := getInteger(env, term)
	return int(number), ok && number >= 0 && number <= 0x7fffffff
}
