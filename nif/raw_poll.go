package main

/*
#include "atoms.h"
#include "resource.h"
#include <erl_nif.h>
*/
import "C"

import "erlang_python/nif/internal/pollset"

// workerPatience is how long, in nanoseconds, somebody who waits for the worker that was asked for does so before he
// looks again: who was asked may have died before he read it.
const workerPatience = 200_000_000

// refusedInterval is how often, in nanoseconds, who waits looks at a poll set that the BEAM does not wait for.
const refusedInterval = 5_000_000

// poller is a process that waits in py_nif:poll_events: in a receive, for {poll_events, Reference, Result}. A NIF that
// blocked, even on a dirty scheduler, would take one of the few threads with which the VM reads files.
type poller struct {
	pid       C.ErlNifPid
	env       *C.ErlNifEnv // of reference
	reference C.ERL_NIF_TERM
}

// pollResult is what a poller is told.
type pollResult int

const (
	pollCount pollResult = iota // the number of pending events
	pollAgain                   // look again: a deadline or the worker changed
	pollEnded                   // the loop was destroyed
)

func (result pollResult) term(env *C.ErlNifEnv, count int) C.ERL_NIF_TERM {
	switch result {
	case pollAgain:
		return makeAtom(env, "again")
	case pollEnded:
		return posixError(env, errEnded)
	}
	return makeInteger(env, int64(count))
}

// releasePollers tells everybody who waits.
func (r *rawEvents) releasePollers(env *C.ErlNifEnv, result pollResult) {
	count := r.pending.Len()
	for id, w := range r.pollers {
		elements := [3]C.ERL_NIF_TERM{makeAtom(w.env, "poll_events"), w.reference, result.term(w.env, count)}
		C.enif_send(env, &w.pid, w.env, C.enif_make_tuple_from_array(w.env, &elements[0], 3))
		r.dropPoller(id, w)
	}
}

// announce tells who waits that there are pending events.
func (r *rawEvents) announce(env *C.ErlNifEnv) {
	if len(r.pollers) > 0 && r.pending.Len() > 0 {
		r.releasePollers(env, pollCount)
	}
}

func (r *rawEvents) dropPoller(id uint64, w *poller) {
	delete(r.pollers, id)
	C.enif_free_env(w.env)
}

// wakeup ends the waits, or the next one when there is none.
func (r *rawEvents) wakeup(env *C.ErlNifEnv) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pollers) > 0 {
		r.releasePollers(env, pollCount)
	} else {
		r.woken = true
	}
}

// lookAgain: what the pollers wait for may never come, say their callers.
func (r *rawEvents) lookAgain(env *C.ErlNifEnv) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.releasePollers(env, pollAgain)
}

// pollState is what poll found.
type pollState struct {
	count    int
	id       uint64 // of the poller, 0 when there is nothing to wait for
	deadline int64  // of the first timer or the next look, 0 when there is none
	own      bool   // the caller is the loop's worker
	needs    bool   // the caller has to provide a worker
}

func (state *pollState) lookWithin(nanoseconds int64) {
	if limit := pollset.Now() + nanoseconds; state.deadline == 0 || state.deadline > limit {
		state.deadline = limit
	}
}

// poll counts the pending events; when there are none and wait is true the caller is made a poller.
func (r *rawEvents) poll(env *C.ErlNifEnv, l *eventLoop, reference C.ERL_NIF_TERM, wait bool) (state pollState,
	err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return state, errEnded
	}
	r.harvest(env, l)
	state.count = r.pending.Len()
	if state.count > 0 || !wait || r.woken {
		r.woken = false
		r.announce(env)
		// The harvest may have replaced the poll set for which those who wait were armed.
		r.arm(env, l)
		return state, nil
	}
	w := &poller{}
	C.enif_self(env, &w.pid)
	worker := l.worker.Load()
	if worker != nil {
		state.own = worker.pid == w.pid.pid
	} else if !l.askForWorkerOf(env) {
		state.needs = true
		return state, nil
	}
	if w.env = C.enif_alloc_env(); w.env == nil {
		return state, nil
	}
	w.reference = C.enif_make_copy(w.env, reference)
	r.sweepPollers(env)
	if r.pollers == nil {
		r.pollers = make(map[uint64]*poller)
	}
	r.pollerID++
	r.pollers[r.pollerID] = w
	state.id = r.pollerID
	if r.timers.Len() > 0 {
		state.deadline = r.timers.items[0].deadline
	}
	r.arm(env, l)
	switch {
	case r.refused:
		state.lookWithin(refusedInterval)
	case worker == nil:
		state.lookWithin(workerPatience)
	}
	return state, nil
}

// sweepPollers forgets pollers that died, which send no notice of it.
func (r *rawEvents) sweepPollers(env *C.ErlNifEnv) {
	const smallest = 64
	if len(r.pollers) < max(r.pollerSweep, smallest) {
		return
	}
	for id, w := range r.pollers {
		if C.enif_is_process_alive(env, &w.pid) == 0 {
			r.dropPoller(id, w)
		}
	}
	r.pollerSweep = 2 * len(r.pollers)
}

// endPoll: the poller waits no more; false when its message is on its way.
func (r *rawEvents) endPoll(id uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.pollers[id]
	if w == nil {
		return false
	}
	r.dropPoller(id, w)
	return true
}
