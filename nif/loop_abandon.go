package main

/*
#include "atoms.h"
#include "task.h"
#include <erl_nif.h>
*/
import "C"

import (
	"sync/atomic"
	"time"
)

// abandonedLoops counts the loops that were given up and whose thread did not come back yet.
var abandonedLoops atomic.Int64

// giveUp answers everybody who waits for a task of the loop {error, loop_restarted} and asks its thread to end. A
// thread cannot be ended from outside: one that is inside a C function which does not return stays, and is counted.
// What such a thread uses, the loop's descriptors among it, is released when it comes back. Called by a NIF.
func (l *eventLoop) giveUp(env *C.ErlNifEnv) {
	l.mu.Lock()
	again := l.destroyed.Swap(true)
	thread := l.thread
	if !again && thread != nil && !l.closed.Load() {
		l.givenUp = true
		abandonedLoops.Add(1)
	}
	l.mu.Unlock()
	if again {
		return
	}
	l.raw.close(env, l)
	go func() {
		defer guardCallback("giving up a loop")
		l.answerAll(C.atoms.loop_restarted)
		if thread == nil {
			l.close()
			return
		}
		l.stop()
		time.AfterFunc(stopGrace, l.interrupt)
	}()
}

// answerAll fails the tasks that are queued and, in place of the thread, those that it took. Runs on a thread of ours.
func (l *eventLoop) answerAll(reason C.ERL_NIF_TERM) {
	for _, t := range l.queue.Close() {
		t.fail(reason)
	}
	handle := C.uint64_t(l.handle)
	for _, t := range tasks.snapshot() {
		// Any other thread may write the field meanwhile; task_answer_for looks again.
		if t.c.loop == handle && bool(C.task_answer_for(t.c, handle, reason)) {
			tasks.put(t)
		}
	}
}

// takeBack gives back a task that could not be queued; false when answerAll has answered it meanwhile.
func (t *task) takeBack() bool {
	mine := bool(C.task_withdraw(t.c))
	tasks.put(t)
	return mine
}

// interrupt ends Python code that keeps a stopped loop's thread.
func (l *eventLoop) interrupt() {
	l.mu.Lock()
	thread := l.thread
	l.mu.Unlock()
	if thread != nil && !l.closed.Load() && l.stopAsked.Load() && l.awake.Load() {
		thread.interrupt("SystemExit")
	}
}

// cameBack: the loop is closed, so its thread did end.
func (l *eventLoop) cameBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.givenUp {
		l.givenUp = false
		abandonedLoops.Add(-1)
	}
}

// core_event_loop_abandon(Loop) is ok: its tasks are answered {error, loop_restarted}.
//
//export core_event_loop_abandon
func core_event_loop_abandon(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	l, ok := loopArgument(env, arguments(argc, argv)[0])
	if !ok {
		return C.enif_make_badarg(env)
	}
	if l != nil {
		l.giveUp(env)
	}
	return C.atoms.ok
}

// core_event_loops_abandoned() is the number of threads of loops that were given up and that did not end yet.
//
//export core_event_loops_abandoned
func core_event_loops_abandoned(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	return makeInteger(env, abandonedLoops.Load())
}
