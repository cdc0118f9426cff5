package main

/*
#include "atoms.h"
#include "resource.h"
#include <erl_nif.h>
*/
import "C"

import (
	"errors"
	"sync"
	"syscall"
	"unsafe"

	"erlang_python/nif/internal/pending"
	"erlang_python/nif/internal/pollset"
)

// rawEvents is what a loop has for Erlang: the descriptors and timers that processes registered by the low-level calls
// of py_nif, and the events that wait for get_pending. The parts are in raw_fd.go, raw_timer.go and raw_poll.go.
//
// They have a poll set of their own. In the one that the loop's Python thread harvests, a ready descriptor of Erlang's
// would end every wait of that thread until somebody read from it.
//
//	add_reader ──▶ set ──▶ BEAM ── {select, ...} ──▶ worker ── event_loop_dispatch ──▶ pending ──▶ poll_events, get_pending
//	call_later ──▶ timers ── {timer, Ref, Delay} ──▶ worker ── dispatch_timer ───────▶
//
// What the worker is told are hints. Everything that asks harvests the poll set and the timers itself, so a worker
// that is late, dead or replaced loses nothing.
//
// The poll set is armed only while nothing waits for get_pending: its descriptors are level-triggered, and one that is
// ready and that nobody reads would otherwise come again at once, for ever.
//
// mu guards all fields, is never held across a wait, and nothing that is called with it needs another lock of the
// core's but those of the registries. An env argument is that of the calling NIF, nil on threads of ours.
type rawEvents struct {
	mu       sync.Mutex
	closed   bool
	set      pollset.Set // nil while nothing is registered
	found    []pollset.Event
	byFd     [2]map[int]*registration
	armed    bool // enif_select is armed for the poll set
	selected bool // enif_select knows the poll set: only its stop callback may close it
	refused  bool // enif_select does not take the poll set (loop_park.go): who waits has to look
	pending  pending.Set
	timers   timerHeap
	fired    map[uint64]int // timers by callback id whose event waits in pending
	round    uint64         // number of get_pendings: which of them took a timer's event
	hint     int64          // when the worker's timer comes, 0 when it has none
	pollers  map[uint64]*poller
	pollerID uint64
	// pollerSweep is at how many pollers those of dead processes are looked for.
	pollerSweep int
	woken       bool // event_loop_wakeup came while nobody waited
}

// harvestSize is how many events one system call brings.
const harvestSize = 256

var errEnded = syscall.EBADF

// harvest moves ready descriptors and due timers to pending.
func (r *rawEvents) harvest(env *C.ErlNifEnv, l *eventLoop) {
	if r.set != nil && r.set.Len() > 0 {
		// What is ready comes round again, so the number of looks is bounded by that of the descriptors.
		for looks := r.set.Len()/harvestSize + 1; looks > 0; looks-- {
			n, _, err := r.set.Wait(r.found, 0)
			for _, event := range r.found[:n] {
				r.ready(event)
			}
			l.reported.Add(uint64(n))
			if errors.Is(err, pollset.ErrStale) {
				err = r.rebuild(env, l)
			}
			if err != nil || n < len(r.found) {
				break
			}
		}
	}
	r.fireDue(pollset.Now())
}

func (r *rawEvents) ready(event pollset.Event) {
	for direction, bit := range interestBits {
		if event.Mask&bit == 0 {
			continue
		}
		if g := r.byFd[direction][int(event.Fd)]; g != nil {
			r.pending.Add(g.callback, g.kind())
		}
	}
}

// arm has the BEAM tell the worker when a descriptor is ready, unless it was told and get_pending was not called.
func (r *rawEvents) arm(env *C.ErlNifEnv, l *eventLoop) {
	worker := l.worker.Load()
	if r.closed || r.armed || r.refused || worker == nil || r.set == nil || r.set.Len() == 0 || r.pending.Len() > 0 {
		return
	}
	message := C.enif_alloc_env()
	if message == nil {
		return
	}
	defer C.enif_free_env(message)
	elements := [4]C.ERL_NIF_TERM{makeAtom(message, "select"), l.term(message), makeAtom(message, "descriptors"),
		makeAtom(message, "ready_input")}
	to := *worker
	status := C.enif_select_x(env, C.ErlNifEvent(r.set.Fd()), C.ERL_NIF_SELECT_READ|C.ERL_NIF_SELECT_CUSTOM_MSG,
		unsafe.Pointer(l.resource), &to, C.enif_make_tuple_from_array(message, &elements[0], 4), message)
	if status < 0 {
		r.refused = true
		return
	}
	r.armed, r.selected = true, true
}

// openSet makes the poll set when the first descriptor is registered.
func (r *rawEvents) openSet() error {
	if r.set != nil {
		return nil
	}
	set, err := pollset.New()
	if err != nil {
		return err
	}
	r.set = set
	if r.found == nil {
		r.found = make([]pollset.Event, harvestSize)
	}
	return nil
}

// closeSet lets go of the poll set.
func (r *rawEvents) closeSet(env *C.ErlNifEnv, l *eventLoop) {
	if r.set == nil {
		return
	}
	fd, selected := r.set.Fd(), r.selected
	r.set.Close(selected)
	r.set, r.armed, r.selected, r.refused = nil, false, false, false
	if selected {
		stopSelect(env, l, fd)
	}
}

// stopSelect makes the BEAM forget a descriptor, which the stop callback then closes.
func stopSelect(env *C.ErlNifEnv, l *eventLoop, fd int) {
	C.enif_select(env, C.ErlNifEvent(fd), C.ERL_NIF_SELECT_STOP, unsafe.Pointer(l.resource), nil, C.atoms.undefined)
}

func (r *rawEvents) rebuild(env *C.ErlNifEnv, l *eventLoop) error {
	old, err := r.set.Rebuild()
	if err != nil {
		return err
	}
	selected := r.selected
	r.armed, r.selected, r.refused = false, false, false
	if selected {
		stopSelect(env, l, old)
	} else {
		_ = syscall.Close(old)
	}
	return nil
}

// workerCame: the loop has a new worker, called by a NIF.
func (r *rawEvents) workerCame(env *C.ErlNifEnv, l *eventLoop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed, r.hint = false, 0
	r.arm(env, l)
	r.tellDeadline(env, l)
}

// workerWent: the worker died. Whoever waits looks again, and asks for another one. Runs on a thread of ours.
func (r *rawEvents) workerWent(l *eventLoop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed, r.hint = false, 0
	r.releasePollers(nil, pollAgain)
}

// dispatch: the worker got {select, Loop, descriptors, ready_input}.
func (r *rawEvents) dispatch(env *C.ErlNifEnv, l *eventLoop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = false
	r.harvest(env, l)
	r.announce(env)
	r.arm(env, l)
}

// take detaches the pending events, which the caller recycles.
func (r *rawEvents) take(env *C.ErlNifEnv, l *eventLoop) ([]pending.Event, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errEnded
	}
	r.harvest(env, l)
	events := r.pending.Detach()
	r.round++
	clear(r.fired)
	r.arm(env, l)
	return events, nil
}

// close ends everything; FdRefs and TimerRefs that are still there find nothing.
func (r *rawEvents) close(env *C.ErlNifEnv, l *eventLoop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	r.pending.Close()
	r.releasePollers(env, pollEnded)
	r.dropTimers()
	r.byFd = [2]map[int]*registration{}
	r.closeSet(env, l)
}
