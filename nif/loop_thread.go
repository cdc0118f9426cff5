package main

/*
#include "atoms.h"
#include "loop_thread.h"
#include <erl_nif.h>
#include <stdint.h>
*/
import "C"

import (
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"erlang_python/nif/internal/pollset"
)

// start lets the loop have a thread that drives it, from its first task on, since a loop that nobody uses shall cost
// nothing. It lives until it is destroyed from now on; when its thread ends before, or somebody else destroys it, owner is
// told, if there is one. No error if it was called before. Called by a NIF.
func (l *eventLoop) start(stackSize int64, owner *C.ErlNifPid) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() || l.destroyed.Load() {
		return errClosed
	}
	if !l.held {
		// The caller has a term that refers to the loop; the thread may outlive it.
		l.held = true
		C.enif_keep_resource(unsafe.Pointer(l.resource))
	}
	if owner != nil {
		l.owner.CompareAndSwap(nil, owner)
	}
	l.stackSize.Store(stackSize)
	l.undriven.Store(stackSize != 0 && !l.driven.Load())
	return nil
}

// defaultLoop is the handle of the loop of module py_event_loop, where coroutines of code without a loop go.
var defaultLoop atomic.Uint64

// core_default_loop is that handle, of a loop whose thread is started; 0 without one.
//
//export core_default_loop
func core_default_loop() C.uint64_t {
	defer guardCallback("default_loop")
	l := loops.Get(defaultLoop.Load())
	if l == nil {
		return 0
	}
	if l.undriven.Load() {
		l.startThread()
	}
	return C.uint64_t(l.handle)
}

// core_loop_start_thread starts the thread of a loop whose first task was queued.
//
//export core_loop_start_thread
func core_loop_start_thread(handle C.uint64_t) {
	defer guardCallback("loop_start_thread")
	if l := loops.Get(uint64(handle)); l != nil && l.undriven.Load() {
		l.startThread()
	}
}

// startThread starts the thread unless somebody else did. When there is none to be had, it tries again later.
func (l *eventLoop) startThread() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.thread != nil || l.restarting || l.closed.Load() || l.destroyed.Load() {
		return
	}
	thread, err := startThread(l.stackSize.Load(), l.run)
	if err != nil {
		err = fmt.Errorf("cannot start the thread of an event loop: %w", err)
	}
	l.retry.note(err)
	if err != nil {
		l.restarting = true
		time.AfterFunc(l.retry.delay, l.startThreadAgain)
		return
	}
	l.thread = thread
	l.driven.Store(true)
	l.undriven.Store(false)
}

func (l *eventLoop) startThreadAgain() {
	defer guardCallback("the thread of an event loop")
	l.mu.Lock()
	l.restarting = false
	l.mu.Unlock()
	if !l.queue.Empty() {
		l.startThread()
	}
}

// run is the life of the loop's thread: loop_thread_run makes an ErlangEventLoop on this loop and runs it until the loop
// is asked to stop.
func (l *eventLoop) run(thread *pythonThread) {
	// Whoever closes the loop lets go of the resource.
	C.enif_keep_resource(unsafe.Pointer(l.resource))
	defer C.enif_release_resource(unsafe.Pointer(l.resource))
	l.cameBack.Store(pollset.Now())
	l.awake.Store(true)
	if err := thread.attach(); err != nil {
		logEvent(err.Error())
	} else {
		C.loop_thread_run(thread.state, C.uint64_t(thread.handle), C.uint64_t(l.handle))
		defer thread.detach()
	}
	l.close()
	// Coroutines that nobody steps any more would be answered when Python frees them, if it ever does. Whoever destroyed
	// the loop has done so.
	if !l.destroyed.Load() {
		l.answerAll(C.atoms.closed)
	}
	if owner := l.owner.Load(); owner != nil && !l.stopAsked.Load() {
		l.tellOwner(*owner)
	}
}

// tellOwner sends {event_loop_ended, Loop} to the process that started the loop, since it did not ask it to end.
func (l *eventLoop) tellOwner(owner C.ErlNifPid) {
	if env := C.enif_alloc_env(); env != nil {
		C.enif_send(nil, &owner, env, makeTuple2(env, makeAtom(env, "event_loop_ended"), l.term(env)))
		C.enif_free_env(env)
	}
}
