package main

/*
#include "atoms.h"
#include "resource.h"
#include <erl_nif.h>
*/
import "C"

import (
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"erlang_python/nif/internal/pollset"
)

// A loop that has nothing to do within the linger parks: its poll set is given to the BEAM by enif_select, its next
// deadline to erlang:send_after, both in the loop's py_event_worker, and the thread sleeps on its waker until
// {select, ...}, {timeout, ...} or a task wakes it.
//
//	thread                          worker                       BEAM
//	parked = id
//	{park, id, Delay} ────────────▶ event_loop_arm ────────────▶ enif_select, send_after
//	sleep on the waker
//	                                {select, ...} ◀───────────── the poll set is ready
//	parked = 0 ◀─────── wake ────── event_loop_ready
//
// Both waits are one-shot and both are only hints: the thread looks at its poll set and its clock itself whenever it
// is woken. What comes for a park that is over finds another id, or no park, and does nothing.
const (
	// parkMinimum: a shorter wait is not worth a park, in nanoseconds.
	parkMinimum = 5_000_000
	// parkMargin is how much before the deadline the BEAM's timer wakes the thread, which waits for the rest itself:
	// erlang:send_after is as much as two milliseconds late.
	parkMargin = 2_500_000
	// longestDelay in milliseconds that erlang:send_after takes.
	longestDelay = 1<<32 - 1
)

// loopLinger is how long a loop's thread waits itself before it parks, in nanoseconds; environment key
// event_loop_linger_us.
var loopLinger atomic.Int64

// parking is the part of a loop that the BEAM's side of its waits needs.
type parking struct {
	parked   atomic.Uint64 // id of the park that the thread is in, 0 when it runs
	parkID   uint64        // of the thread: the last id
	worker   atomic.Pointer[C.ErlNifPid]
	asked    atomic.Bool // for a worker
	parks    atomic.Uint64
	monitor  C.ErlNifMonitor
	watching bool // monitor is in place; under mu
	armed    bool // enif_select is armed for the poll set; under mu
	selected bool // enif_select knows the poll set, so that only its stop callback may close it; under mu
	// refused: enif_select does not take the poll set, whose number is higher than the limit on descriptors was when the
	// VM started. The thread waits itself then.
	refused atomic.Bool
}

// park sleeps until something wakes the thread. False when nobody can watch the poll set meanwhile.
func (l *eventLoop) park(deadline int64) bool {
	// The worker of a loop that was destroyed can do nothing for it any more.
	if l.refused.Load() || l.destroyed.Load() {
		return false
	}
	worker := l.worker.Load()
	if worker == nil {
		l.askForWorker()
		return false
	}
	l.parkID++
	l.parked.Store(l.parkID)
	defer l.parked.Store(0)
	if !sendPark(*worker, l.parkID, deadline) {
		return false
	}
	l.parks.Add(1)
	_, _ = l.waker.Sleep(-1)
	return true
}

// sendPark tells the worker that the loop parked; false when the worker is gone.
func sendPark(worker C.ErlNifPid, id uint64, deadline int64) bool {
	env := C.enif_alloc_env()
	if env == nil {
		return false
	}
	defer C.enif_free_env(env)
	delay := makeAtom(env, "infinity")
	if deadline > 0 {
		milliseconds := max((deadline-pollset.Now()-parkMargin)/1_000_000, 0)
		delay = makeInteger(env, min(milliseconds, longestDelay))
	}
	elements := [3]C.ERL_NIF_TERM{makeAtom(env, "park"), makeInteger(env, int64(id)), delay}
	return C.enif_send(nil, &worker, env, C.enif_make_tuple_from_array(env, &elements[0], 3)) != 0
}

// askForWorker asks py_event_worker_starter, once, for a worker for this loop.
func (l *eventLoop) askForWorker() { l.askForWorkerOf(nil) }

// askForWorkerOf is that for a NIF with its env; false when there is nobody to ask.
func (l *eventLoop) askForWorkerOf(caller *C.ErlNifEnv) bool {
	starter := python.starter.Load()
	if starter == nil || C.enif_is_process_alive(caller, starter) == 0 {
		return false
	}
	if l.asked.Swap(true) {
		return true
	}
	env := C.enif_alloc_env()
	if env == nil {
		return false
	}
	defer C.enif_free_env(env)
	to := *starter
	if C.enif_send(caller, &to, env, makeTuple2(env, makeAtom(env, "start_worker"), l.term(env))) == 0 {
		l.asked.Store(false)
		return false
	}
	return true
}

// choosingWorker is held while a loop gets a worker, so that no process becomes that of two loops.
var choosingWorker sync.Mutex

// setWorker makes pid the process that waits for the loop; what an earlier one waited for is armed anew. ESRCH when
// the process is gone, EBUSY when it is the worker of another loop: what workers are told names no loop. Called by a NIF.
func (l *eventLoop) setWorker(env *C.ErlNifEnv, pid C.ErlNifPid) error {
	choosingWorker.Lock()
	defer choosingWorker.Unlock()
	busy := false
	loops.Range(func(_ uint64, other *eventLoop) bool {
		worker := other.worker.Load()
		// Until it is closed: it will tell its worker.
		busy = other != l && worker != nil && worker.pid == pid.pid && !other.closed.Load()
		return !busy
	})
	if busy {
		return syscall.EBUSY
	}
	l.mu.Lock()
	if l.closed.Load() {
		l.mu.Unlock()
		return errEnded
	}
	var monitor C.ErlNifMonitor
	alive := C.enif_monitor_process(env, unsafe.Pointer(l.resource), &pid, &monitor) == 0
	var replaced *C.ErlNifPid
	if alive {
		// Not before: when the new one is dead, the earlier one stays the worker, and its death is still to be told.
		if l.watching {
			C.enif_demonitor_process(env, unsafe.Pointer(l.resource), &l.monitor)
		}
		l.watching, l.monitor = true, monitor
		replaced = l.worker.Swap(&pid)
		l.armed = false
	}
	l.mu.Unlock()
	if !alive {
		return syscall.ESRCH
	}
	// A thread that is parked with the earlier worker parks again.
	l.waker.Wake()
	l.raw.workerCame(env, l)
	l.told.Store(false)
	l.tellTasks(env)
	if replaced != nil && replaced.pid != pid.pid {
		// This one may be somebody else's, who will not replace it when it dies.
		l.asked.Store(false)
		sendToWorker(env, *replaced, "loop_closed")
	}
	return nil
}

// workerDown is called when the worker died: the thread must not sleep with nobody watching. Its supervisor starts
// another one, until which the thread waits itself.
func (l *eventLoop) workerDown(pid C.ERL_NIF_TERM) {
	l.mu.Lock()
	if worker := l.worker.Load(); worker != nil && worker.pid == pid {
		l.worker.Store(nil)
		l.watching = false
		l.armed = false
	}
	l.mu.Unlock()
	l.waker.Wake()
	go func() {
		defer guardCallback("a worker's end")
		l.raw.workerWent(l)
	}()
}

// arm has the BEAM tell the worker when the poll set is ready. Called by a NIF of the worker.
func (l *eventLoop) arm(env *C.ErlNifEnv) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return errClosed
	}
	if l.armed {
		return nil
	}
	worker := l.worker.Load()
	if worker == nil {
		return errClosed
	}
	status := C.enif_select(env, C.ErlNifEvent(l.set.Fd()), C.ERL_NIF_SELECT_READ, unsafe.Pointer(l.resource),
		worker, C.atoms.undefined)
	if status < 0 {
		l.refused.Store(true)
		l.waker.Wake()
		return syscall.EBADF
	}
	l.armed, l.selected = true, true
	return nil
}

// fired: the BEAM found the poll set ready, which disarmed it.
func (l *eventLoop) fired() {
	l.mu.Lock()
	l.armed = false
	l.mu.Unlock()
	if l.parked.Load() != 0 {
		l.waker.Wake()
	}
}

// timedOut: the timer of a park has come.
func (l *eventLoop) timedOut(id uint64) {
	if l.parked.Load() == id {
		l.waker.Wake()
	}
}

// rebuildSet replaces the poll set's kernel object, which reports a descriptor that cannot be removed any more.
func (l *eventLoop) rebuildSet() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	old, err := l.set.Rebuild()
	if err != nil {
		return err
	}
	l.refused.Store(false)
	if l.selected {
		l.selected, l.armed = false, false
		stopSelect(nil, l, old)
	} else {
		_ = syscall.Close(old)
	}
	return nil
}

// releaseSet closes the poll set of a loop that is closed. One that enif_select knows is closed by its stop callback
// only: a descriptor closed before would be reported as bad, or as stolen once its number is used again.
func (l *eventLoop) releaseSet() {
	l.mu.Lock()
	defer l.mu.Unlock()
	fd := l.set.Fd()
	l.set.Close(l.selected)
	if l.selected {
		stopSelect(nil, l, fd)
	}
	if worker := l.worker.Swap(nil); worker != nil {
		sendToWorker(nil, *worker, "loop_closed")
	}
	if l.held {
		l.held = false
		C.enif_release_resource(unsafe.Pointer(l.resource))
	}
}

// sendToWorker sends an atom; caller is the env of a NIF, nil on threads of ours.
func sendToWorker(caller *C.ErlNifEnv, worker C.ErlNifPid, message string) {
	if env := C.enif_alloc_env(); env != nil {
		C.enif_send(caller, &worker, env, makeAtom(env, message))
		C.enif_free_env(env)
	}
}

// tellTasks has the worker call process_ready_tasks for a loop that no thread drives yet; env is a NIF's, or nil on
// threads of ours.
func (l *eventLoop) tellTasks(env *C.ErlNifEnv) {
	worker := l.worker.Load()
	if worker != nil && !l.driven.Load() && !l.queue.Empty() && !l.told.Swap(true) {
		sendToWorker(env, *worker, "task_ready")
	}
}
