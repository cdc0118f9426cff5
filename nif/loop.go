package main

/*
#include "atoms.h"
#include "loop_ready.h"
#include "resource.h"
#include "task.h"
#include <erl_nif.h>
*/
import "C"

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/cpu"

	"erlang_python/nif/internal/pollset"
	"erlang_python/nif/internal/queue"
	"erlang_python/nif/internal/registry"
	"erlang_python/nif/internal/wake"
)

// eventLoop is the native half of an event loop: its poll set and its queue of tasks.
//
// It is made by event_loop_new (Erlang) or by a Selector (Python), and closed by whoever comes first of
// event_loop_destroy, the end of its thread and the Selector's close. Its handle finds nothing
// from then on. The parts are in loop_wait.go, loop_park.go (how the BEAM waits for it), loop_thread.go, loop_watch.go,
// loop_abandon.go, loop_info.go and raw_events.go (the low-level calls).
//
// The fields are grouped by who writes them: what a submitter reads must not lie on a cache line that the loop's thread
// writes with each batch.
type eventLoop struct {
	handle   uint64
	resource *C.resource
	set      pollset.Set
	waker    *wake.Waker
	queue    *queue.Queue[loopTask, *loopTask]
	*loopDoor

	closed    atomic.Bool
	opened    atomic.Bool // a Selector has it: what it hands out belongs to one thread
	stopping  atomic.Bool // its thread is to end, and was not told yet
	stopAsked atomic.Bool
	driven    atomic.Bool
	told      atomic.Bool // task_ready was sent to the worker, and process_ready_tasks was not called
	// stackSize of the thread that is started with the first task, 0 when the loop shall have none of its own.
	stackSize   atomic.Int64
	owner       atomic.Pointer[C.ErlNifPid] // who is told when the thread ends unasked
	cancelCount atomic.Int32                // len(cancels), to be looked at without the lock
	cancelKeys  atomic.Int32                // len(cancelled), likewise

	_ cpu.CacheLinePad

	mu         sync.Mutex
	thread     *pythonThread // that drives it, when Erlang started one
	cancels    []cancellation
	cancelled  map[uint64]cancelState // the keys in cancels and handedOut; under mu
	handedOut  []uint64               // keys that the batch which runs now got; of the loop's thread
	watches    map[C.ERL_NIF_TERM]*watch
	held       bool    // resource is referred to from here, not only by terms; under mu
	givenUp    bool    // counted in abandonedLoops; under mu
	retry      backoff // of starting the thread; under mu
	restarting bool    // the thread's start will be tried again; under mu
	// raw is what Erlang registered by the low-level calls.
	raw rawEvents
	parking

	_ cpu.CacheLinePad

	waiting
	loopCounts
}

var (
	loops          = registry.New[eventLoop]()
	defaultLimit   = 1 << 20
	loopQueueLimit atomic.Int64
	// loopLimit bounds how many loops there are at once, those that Python made included.
	loopLimit atomic.Int64
)

func newLoop() (*eventLoop, error) {
	if limit := loopLimit.Load(); limit > 0 && int64(loops.Len()) >= limit {
		return nil, syscall.EMFILE
	}
	set, err := pollset.New()
	if err != nil {
		return nil, err
	}
	door := new(loopDoor)
	waker, err := wake.NewOn(&door.wakers)
	if err != nil {
		set.Close(false)
		return nil, err
	}
	if err := set.SetWaker(waker); err != nil {
		set.Close(false)
		waker.Close()
		return nil, err
	}
	limit := int(loopQueueLimit.Load())
	if limit == 0 {
		limit = defaultLimit
	}
	l := &eventLoop{set: set, waker: waker, loopDoor: door, watches: make(map[C.ERL_NIF_TERM]*watch)}
	l.queue = queue.NewOn[loopTask](&door.pushers, limit)
	l.waiting = newWaiting()
	l.quick.Store(isQuick(0))
	l.handle = loops.Add(l)
	l.loop = l.handle
	l.resource = C.resource_new(C.RESOURCE_LOOP, C.uint64_t(l.handle))
	if l.resource == nil {
		l.close()
		return nil, syscall.ENOMEM
	}
	l.lendDoor()
	l.held = true
	return l, nil
}

// letGo leaves the life of the loop to the terms that refer to it, until it gets a thread.
func (l *eventLoop) letGo() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held {
		l.held = false
		C.enif_release_resource(unsafe.Pointer(l.resource))
	}
}

// forgotten: no term refers to the loop any more, and no thread drives it. Runs on whatever thread collects garbage.
func (l *eventLoop) forgotten() {
	l.destroyed.Store(true)
	go func() {
		defer guardCallback("a forgotten loop")
		l.close()
	}()
}

// close makes the loop refuse everything and answers what was queued. It must not run on a BEAM thread.
func (l *eventLoop) close() {
	if !l.closed.CompareAndSwap(false, true) {
		return
	}
	loops.Remove(l.handle)
	l.failQueued(C.atoms.closed)
	l.raw.close(nil, l)
	l.unwatchAll()
	l.releaseSet()
	l.threadEnded()
	l.waker.Close()
	wakeOthers()
}

// stop asks the loop's thread to end; the thread closes the loop.
func (l *eventLoop) stop() {
	l.stopAsked.Store(true)
	l.stopping.Store(true)
	l.wake()
}

func (l *eventLoop) wake() { l.waker.Notify() }

// failQueued closes the queue and answers what was in it. Tasks of spawn_task have nobody to answer: the log says that
// they were dropped.
func (l *eventLoop) failQueued(reason C.ERL_NIF_TERM) {
	spawned := 0
	for _, t := range l.queue.Close() {
		c := (*C.task)(t)
		if c.kind != C.TASK_RESOLVE && bool(C.task_silent(c)) {
			spawned++
		}
		failTask(c, reason)
	}
	if spawned > 0 {
		logEvent(fmt.Sprintf("%d tasks of spawn_task, which waited for an event loop, ended with it", spawned))
	}
}

// submit queues a task; when it does not, the task stays the caller's. Most tasks come by loop_submit.c instead.
func (l *eventLoop) submit(c *C.task) (accepted bool, reason C.ERL_NIF_TERM) {
	c.loop = C.uint64_t(l.handle)
	switch l.queue.Push((*loopTask)(c)) {
	case nil:
		if l.undriven.Load() {
			l.startThread()
		}
		l.waker.Wake()
		return true, 0
	case queue.ErrFull:
		return false, C.atoms.busy
	default:
		return false, C.atoms.closed
	}
}
