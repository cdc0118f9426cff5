package main

/*
#include "atoms.h"
#include "loop_ready.h"
#include "resource.h"
#include "task_pool.h"
#include <erl_nif.h>
*/
import "C"

import (
	"syscall"
	"unsafe"

	"erlang_python/nif/internal/pollset"
)

// The functions below are called by the Selector (selector.c, loop_run.c) with the handle of its loop. They return 0
// or a negative errno.

// core_loop_open makes a loop, or takes the one that Erlang made; 0 and an errno when that fails. A loop is for one
// selector: two would take each other's batches.
//
//export core_loop_open
func core_loop_open(handle C.uint64_t, problem *C.int) C.uint64_t {
	defer guardCallback("loop_open")
	if handle != 0 {
		l := loops.Get(uint64(handle))
		switch {
		case l == nil:
			*problem = -C.int(syscall.EBADF)
		case l.opened.Swap(true):
			*problem = -C.int(syscall.EBUSY)
		default:
			return handle
		}
		return 0
	}
	l, err := newLoop()
	if err != nil {
		*problem = errorStatus(err)
		return 0
	}
	l.opened.Store(true)
	return C.uint64_t(l.handle)
}

//export core_loop_close
func core_loop_close(handle C.uint64_t) {
	defer guardCallback("loop_close")
	if l := loops.Get(uint64(handle)); l != nil {
		l.close()
	}
}

//export core_loop_add
func core_loop_add(handle C.uint64_t, fd C.int, mask C.uint) C.int {
	defer guardCallback("loop_add")
	return changeSet(handle, func(set pollset.Set) error { return set.Add(int(fd), uint32(mask)) })
}

//export core_loop_modify
func core_loop_modify(handle C.uint64_t, fd C.int, mask C.uint) C.int {
	defer guardCallback("loop_modify")
	return changeSet(handle, func(set pollset.Set) error { return set.Modify(int(fd), uint32(mask)) })
}

//export core_loop_remove
func core_loop_remove(handle C.uint64_t, fd C.int) C.int {
	defer guardCallback("loop_remove")
	return changeSet(handle, func(set pollset.Set) error { return set.Remove(int(fd)) })
}

func changeSet(handle C.uint64_t, change func(pollset.Set) error) C.int {
	l := loops.Get(uint64(handle))
	if l == nil {
		return -C.int(syscall.EBADF)
	}
	if err := change(l.set); err != nil {
		return errorStatus(err)
	}
	return 0
}

//export core_loop_wait
func core_loop_wait(handle C.uint64_t, ready *C.loop_ready, deadline C.int64_t) (status C.int) {
	defer func() {
		if reason := recover(); reason != nil {
			status = -C.int(syscall.EIO)
			logPanic("loop_wait", reason)
		}
	}()
	l := loops.Get(uint64(handle))
	if l == nil {
		return -C.int(syscall.EBADF)
	}
	l.publish(ready)
	return l.wait(ready, int64(deadline))
}

// core_loop_ending tells whether the loop is closed or was asked to end.
//
//export core_loop_ending
func core_loop_ending(handle C.uint64_t) C.bool {
	defer guardCallback("loop_ending")
	l := loops.Get(uint64(handle))
	return C.bool(l == nil || l.stopAsked.Load())
}

//export core_loop_fileno
func core_loop_fileno(handle C.uint64_t) C.int {
	defer guardCallback("loop_fileno")
	if l := loops.Get(uint64(handle)); l != nil {
		return C.int(l.set.Fd())
	}
	return -1
}

// core_deadline is the monotonic time that many nanoseconds from now.
//
//export core_deadline
func core_deadline(timeout C.int64_t) C.int64_t { return C.int64_t(pollset.Deadline(int64(timeout))) }

// core_loop_again queues the next step of a task, behind what is queued.
//
//export core_loop_again
func core_loop_again(handle C.uint64_t, slot C.uint64_t) {
	defer guardCallback("loop_again")
	c := C.task_pool_at(slot)
	reason := C.atoms.closed
	if l := loops.Get(uint64(handle)); l != nil {
		accepted := false
		// The next step of a chain that was cancelled: it goes behind tasks that were queued after the cancellation.
		if c.kind != C.TASK_RESOLVE && l.cancelKeys.Load() > 0 && l.isCancelled(uint64(C.reference_key(c.reference))) {
			reason = C.atoms.cancelled
		} else if accepted, reason = l.submit(c); accepted {
			return
		}
	}
	failTask(c, reason)
}

// core_loop_watch has the asyncio task of that key cancelled when the process dies.
//
//export core_loop_watch
func core_loop_watch(handle C.uint64_t, pid C.ERL_NIF_TERM, key C.uint64_t) {
	defer guardCallback("loop_watch")
	if l := loops.Get(uint64(handle)); l != nil {
		l.watch(pid, uint64(key))
	}
}

//export core_loop_unwatch
func core_loop_unwatch(handle C.uint64_t, pid C.ERL_NIF_TERM, key C.uint64_t) {
	defer guardCallback("loop_unwatch")
	if l := loops.Get(uint64(handle)); l != nil {
		l.unwatch(pid, uint64(key))
	}
}

// term is the loop's reference in Erlang.
func (l *eventLoop) term(env *C.ErlNifEnv) C.ERL_NIF_TERM {
	return C.enif_make_resource(env, unsafe.Pointer(l.resource))
}
