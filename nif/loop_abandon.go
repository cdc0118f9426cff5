package main

/*
#include "atoms.h"
#include "task_pool.h"
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
		wakeOthers()
		if thread == nil {
			l.close()
			return
		}
		l.stop()
		l.interruptLater(interruptRounds)
	}()
}

// answerAll fails the tasks that are queued and, in place of the thread, those that it took. Runs on a thread of ours.
func (l *eventLoop) answerAll(reason C.ERL_NIF_TERM) {
	l.failQueued(reason)
	C.task_pool_answer_for(C.uint64_t(l.handle), reason)
}

// takeBack gives back a task that could not be queued; false when answerAll has answered it meanwhile.
func takeBack(c *C.task) bool {
	mine := bool(C.task_withdraw(c))
	C.task_pool_put(c)
	return mine
}

// interruptRounds is how often a loop that was asked to stop is interrupted, at intervals of stopGrace: code that is not
// ours may catch the first exception and go on.
const interruptRounds = 3

// interruptLater ends Python code that keeps the thread of a loop that was asked to stop.
func (l *eventLoop) interruptLater(rounds int) {
	time.AfterFunc(stopGrace, func() {
		defer guardCallback("interrupting a loop")
		l.mu.Lock()
		thread := l.thread
		l.mu.Unlock()
		if thread == nil || l.closed.Load() {
			return
		}
		thread.interrupt(l.stuck)
		if rounds > 1 {
			l.interruptLater(rounds - 1)
		}
	})
}

// stuck tells whether the loop was asked to stop and its thread has not come back to it since. One that has ends by
// itself, which an exception would only disturb.
func (l *eventLoop) stuck() bool {
	return l.stopAsked.Load() && !l.closed.Load() && l.lag() > stopGrace.Microseconds()/2
}

// threadEnded: the loop is closed, so it is not abandoned any more.
func (l *eventLoop) threadEnded() {
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
