package main

/*
#include "atoms.h"
#include "loop_ready.h"
#include <erl_nif.h>
*/
import "C"

import (
	"sync/atomic"

	"erlang_python/nif/internal/pollset"
)

// loopCounts is what a loop's thread tells about itself; anybody reads it.
type loopCounts struct {
	done      atomic.Uint64 // tasks of batches that ended
	batches   atomic.Uint64
	reported  atomic.Uint64 // readiness of descriptors
	suspended atomic.Int64  // tasks that wait
	timers    atomic.Int64  // of asyncio
	cameBack  atomic.Int64  // when the thread last came back from Python or from a sleep, monotonic nanoseconds
	looked    atomic.Int64  // when the poll set was last looked at
	taken     atomic.Uint64 // tasks from the queue
}

// publish takes over what Python counted.
func (l *eventLoop) publish(ready *C.loop_ready) {
	if n := int64(ready.suspended); n != l.suspended.Load() {
		l.suspended.Store(n)
	}
	if n := int64(ready.timers); n != l.loopCounts.timers.Load() {
		l.loopCounts.timers.Store(n)
	}
}

// state of the loop's thread.
func (l *eventLoop) state() string {
	switch {
	case !l.driven.Load():
		return "not_started"
	case l.parked.Load() != 0:
		return "parked"
	case !l.awake.Load():
		return "waiting"
	}
	return "running"
}

// lag is for how many microseconds the thread has been running Python without coming back to the loop.
func (l *eventLoop) lag() int64 {
	if !l.driven.Load() || !l.awake.Load() {
		return 0
	}
	return max(pollset.Now()-l.cameBack.Load(), 0) / 1000
}

// rawCounts are those of Erlang's registrations.
func (r *rawEvents) counts() (descriptors, timers, waiting int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byFd[reading]) + len(r.byFd[writing]), r.timers.Len(), r.pending.Len()
}

// core_event_loop_info(Loop) is {ok, Map}.
//
//export core_event_loop_info
func core_event_loop_info(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	l, ok := loopArgument(env, arguments(argc, argv)[0])
	if !ok {
		return C.enif_make_badarg(env)
	}
	if l == nil {
		return makeError(env, C.atoms.closed)
	}
	descriptors, timers, waiting := l.raw.counts()
	integer := func(value int64) C.ERL_NIF_TERM { return makeInteger(env, value) }
	return makeOk(env, makeMap(env, map[string]C.ERL_NIF_TERM{
		"state":       makeAtom(env, l.state()),
		"queued":      integer(int64(l.queue.Len())),
		"running":     integer(l.suspended.Load()),
		"done":        integer(int64(l.done.Load())),
		"batches":     integer(int64(l.batches.Load())),
		"parks":       integer(int64(l.parks.Load())),
		"events":      integer(int64(l.reported.Load())),
		"descriptors": integer(int64(l.set.Len()) + int64(descriptors)),
		"timers":      integer(l.loopCounts.timers.Load() + int64(timers)),
		"pending":     integer(int64(waiting)),
		"lag_us":      integer(l.lag()),
	}))
}
