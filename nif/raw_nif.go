package main

/*
#include "atoms.h"
#include "resource.h"
#include "task.h"
#include <erl_nif.h>
*/
import "C"

import (
	"errors"
	"math"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"erlang_python/nif/internal/pending"
)

// The low-level NIFs. py_nif.erl documents them; a wrong argument is badarg, everything else {error, Posix}.

// makePosix is the name of an errno as Erlang has it: ebadf.
func makePosix(env *C.ErlNifEnv, err error) C.ERL_NIF_TERM {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return makeBinary(env, err.Error())
	}
	name := strings.ToLower(unix.ErrnoName(errno))
	if name == "" {
		return makeAtom(env, "unknown")
	}
	return makeAtom(env, name)
}

func posixError(env *C.ErlNifEnv, err error) C.ERL_NIF_TERM {
	return makeError(env, makePosix(env, err))
}

// okOr is ok, or the error.
func okOr(env *C.ErlNifEnv, err error) C.ERL_NIF_TERM {
	if err != nil {
		return posixError(env, err)
	}
	return C.atoms.ok
}

// onRaw answers what f does to the loop in the first argument, {error, ebadf} when that was destroyed.
func onRaw(env *C.ErlNifEnv, term C.ERL_NIF_TERM, f func(*eventLoop) C.ERL_NIF_TERM) C.ERL_NIF_TERM {
	l, ok := loopArgument(env, term)
	if !ok {
		return C.enif_make_badarg(env)
	}
	if l == nil {
		return posixError(env, errEnded)
	}
	return f(l)
}

func getUnsigned(env *C.ErlNifEnv, term C.ERL_NIF_TERM) (uint64, bool) {
	var value C.ErlNifUInt64
	ok := C.enif_get_uint64(env, term, &value) != 0
	return uint64(value), ok
}

func addRegistration(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM, way direction) C.ERL_NIF_TERM {
	args := arguments(argc, argv)
	fd, isFd := getInteger(env, args[1])
	callback, isCallback := getUnsigned(env, args[2])
	if !isFd || !isCallback || fd < 0 {
		return C.enif_make_badarg(env)
	}
	return onRaw(env, args[0], func(l *eventLoop) C.ERL_NIF_TERM {
		if fd > math.MaxInt32 {
			return posixError(env, syscall.EBADF)
		}
		g := &registration{loop: l, fd: int(fd), direction: way, callback: callback}
		if err := l.raw.register(env, g); err != nil {
			return posixError(env, err)
		}
		handle := registrations.Add(g)
		object := C.resource_new(C.RESOURCE_FD, C.uint64_t(handle))
		if object == nil {
			registrations.Remove(handle)
			g.abandon()
			return posixError(env, syscall.ENOMEM)
		}
		defer C.enif_release_resource(unsafe.Pointer(object))
		return makeOk(env, C.enif_make_resource(env, unsafe.Pointer(object)))
	})
}

func removeRegistration(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM, way direction) C.ERL_NIF_TERM {
	args := arguments(argc, argv)
	handle := uint64(C.resource_handle(env, args[1], C.RESOURCE_FD))
	if handle == 0 {
		return C.enif_make_badarg(env)
	}
	return onRaw(env, args[0], func(l *eventLoop) C.ERL_NIF_TERM {
		g := registrations.Get(handle)
		switch {
		case g == nil:
			return posixError(env, syscall.ENOENT)
		case g.loop != l || g.direction != way:
			return posixError(env, syscall.EINVAL)
		case registrations.Remove(handle) == nil:
			return posixError(env, syscall.ENOENT)
		}
		return okOr(env, l.raw.unregister(env, g))
	})
}

// core_add_reader(Loop, Fd, CallbackId) is {ok, FdRef}.
//
//export core_add_reader
func core_add_reader(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	return addRegistration(env, argc, argv, reading)
}

// core_add_writer(Loop, Fd, CallbackId) is {ok, FdRef}.
//
//export core_add_writer
func core_add_writer(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	return addRegistration(env, argc, argv, writing)
}

// core_remove_reader(Loop, FdRef) is ok.
//
//export core_remove_reader
func core_remove_reader(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	return removeRegistration(env, argc, argv, reading)
}

// core_remove_writer(Loop, FdRef) is ok.
//
//export core_remove_writer
func core_remove_writer(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	return removeRegistration(env, argc, argv, writing)
}

// core_call_later(Loop, Milliseconds, CallbackId) is {ok, TimerRef}.
//
//export core_call_later
func core_call_later(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	delay, isDelay := getInteger(env, args[1])
	callback, isCallback := getUnsigned(env, args[2])
	if !isDelay || !isCallback || delay < 0 {
		return C.enif_make_badarg(env)
	}
	return onRaw(env, args[0], func(l *eventLoop) C.ERL_NIF_TERM {
		t := &rawTimer{loop: l, callback: callback, deadline: deadlineAfter(delay), index: -1}
		handle := rawTimers.Add(t)
		t.resource = C.resource_new(C.RESOURCE_TIMER, C.uint64_t(handle))
		if t.resource == nil {
			rawTimers.Remove(handle)
			return posixError(env, syscall.ENOMEM)
		}
		defer C.enif_release_resource(unsafe.Pointer(t.resource))
		if err := l.raw.addTimer(env, t); err != nil {
			return posixError(env, err)
		}
		return makeOk(env, C.enif_make_resource(env, unsafe.Pointer(t.resource)))
	})
}

// timerArgument is the timer in a term; ok is false when that is none, or the term is no TimerRef at all.
func timerArgument(env *C.ErlNifEnv, term C.ERL_NIF_TERM) (t *rawTimer, ok bool) {
	handle := uint64(C.resource_handle(env, term, C.RESOURCE_TIMER))
	if handle == 0 {
		return nil, false
	}
	t = rawTimers.Get(handle)
	return t, t != nil
}

// core_cancel_timer(Loop, TimerRef) is ok.
//
//export core_cancel_timer
func core_cancel_timer(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	t, ok := timerArgument(env, args[1])
	if !ok {
		return C.enif_make_badarg(env)
	}
	return onRaw(env, args[0], func(l *eventLoop) C.ERL_NIF_TERM {
		if t.loop != l {
			return posixError(env, syscall.EINVAL)
		}
		return okOr(env, l.raw.cancelTimer(t))
	})
}

// core_dispatch_timer(Loop, TimerRef | CallbackId) is ok.
//
//export core_dispatch_timer
func core_dispatch_timer(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	callback, isCallback := getUnsigned(env, args[1])
	t, isTimer := timerArgument(env, args[1])
	if !isCallback && !isTimer {
		return C.enif_make_badarg(env)
	}
	return onRaw(env, args[0], func(l *eventLoop) C.ERL_NIF_TERM {
		switch {
		case isCallback:
			return okOr(env, l.raw.dispatchCallback(env, callback))
		case t.loop != l:
			return posixError(env, syscall.EINVAL)
		}
		return okOr(env, l.raw.dispatchTimer(env, l, t))
	})
}

// core_event_loop_dispatch(Loop): the worker got {select, Loop, descriptors, ready_input}.
//
//export core_event_loop_dispatch
func core_event_loop_dispatch(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	return onRaw(env, arguments(argc, argv)[0], func(l *eventLoop) C.ERL_NIF_TERM {
		l.raw.dispatch(env, l)
		return C.atoms.ok
	})
}

// core_event_loop_poll(Loop, Reference, Wait) is the number of pending events; or, when there are none and Wait is
// true, {wait, Id, Own, Next}: {poll_events, Reference, Result} will come. Own: to a process that is the worker itself;
// Next: milliseconds to the first timer or the next look, or infinity. no_worker: the caller has to start one first.
//
//export core_event_loop_poll
func core_event_loop_poll(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	if C.enif_is_ref(env, args[1]) == 0 {
		return C.enif_make_badarg(env)
	}
	wait := C.enif_is_identical(args[2], makeAtom(env, "true")) != 0
	return onRaw(env, args[0], func(l *eventLoop) C.ERL_NIF_TERM {
		state, err := l.raw.poll(env, l, args[1], wait)
		switch {
		case err != nil:
			return posixError(env, err)
		case state.needs:
			return makeAtom(env, "no_worker")
		case state.id == 0:
			return makeInteger(env, int64(state.count))
		}
		next := makeAtom(env, "infinity")
		if state.deadline != 0 {
			next = makeInteger(env, millisecondsUntil(state.deadline))
		}
		elements := [4]C.ERL_NIF_TERM{makeAtom(env, "wait"), makeInteger(env, int64(state.id)),
			makeBool(env, state.own), next}
		return C.enif_make_tuple_from_array(env, &elements[0], 4)
	})
}

// core_event_loop_poll_end(Loop, Id) is true when that wait is over and nothing will come, false when the message is
// there or on its way.
//
//export core_event_loop_poll_end
func core_event_loop_poll_end(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	l, isLoop := loopArgument(env, args[0])
	id, isID := getUnsigned(env, args[1])
	if !isLoop || !isID {
		return C.enif_make_badarg(env)
	}
	return makeBool(env, l != nil && l.raw.endPoll(id))
}

// core_get_pending(Loop) is [{CallbackId, read | write | timer}].
//
//export core_get_pending
func core_get_pending(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	return onRaw(env, arguments(argc, argv)[0], func(l *eventLoop) C.ERL_NIF_TERM {
		events, err := l.raw.take(env, l)
		if err != nil {
			return posixError(env, err)
		}
		list := C.enif_make_list_from_array(env, nil, 0)
		for i := len(events) - 1; i >= 0; i-- {
			id := C.enif_make_uint64(env, C.ErlNifUInt64(events[i].CallbackID))
			list = C.enif_make_list_cell(env, makeTuple2(env, id, kindAtom(events[i].Kind)), list)
		}
		l.raw.pending.Recycle(events)
		return list
	})
}

func kindAtom(kind pending.Kind) C.ERL_NIF_TERM {
	switch kind {
	case pending.Read:
		return C.atoms.read
	case pending.Write:
		return C.atoms.write
	}
	return C.atoms.timer
}

// core_submit_task(Loop, CallerPid, Reference, Module, Function, Arguments, Keywords) is ok: {async_result, Reference,
// Result} will come to CallerPid.
//
//export core_submit_task
func core_submit_task(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	var caller C.ErlNifPid
	if C.enif_get_local_pid(env, args[1], &caller) == 0 {
		return C.enif_make_badarg(env)
	}
	return onRaw(env, args[0], func(l *eventLoop) C.ERL_NIF_TERM {
		call := []C.ERL_NIF_TERM{args[2], makeInteger(env, C.TASK_CALL), args[3], args[4], args[5], args[6],
			makeInteger(env, 0)}
		t := submission(env, call, C.TASK_QUEUED)
		if t == nil {
			return C.enif_make_badarg(env)
		}
		t.c.caller = caller
		if accepted, reason := l.submit(t.c); !accepted && takeBack(t.c) {
			return makeError(env, reason)
		}
		l.tellTasks(env)
		return C.atoms.ok
	})
}

// core_process_ready_tasks(Loop) is ok: the queued tasks, and those to come, are handed to the loop's Python thread,
// which is started for the first of them. Python does not run on the caller's thread.
//
//export core_process_ready_tasks
func core_process_ready_tasks(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	return onRaw(env, arguments(argc, argv)[0], func(l *eventLoop) C.ERL_NIF_TERM {
		// Also when this comes to nothing, so that the worker is told again: by the next task, or when a session begins.
		l.told.Store(false)
		current := python.session.Load()
		if current == nil {
			return makeError(env, makeAtom(env, "not_started"))
		}
		if err := l.start(current.config.stackSize, nil); err != nil {
			return posixError(env, errEnded)
		}
		if !l.queue.Empty() && l.undriven.Load() {
			l.startThread()
		}
		l.waker.Wake()
		return C.atoms.ok
	})
}
