package main

/*
#include "atoms.h"
#include "loop_ready.h"
#include "resource.h"
#include <erl_nif.h>
*/
import "C"

import (
	"sync"
	"sync/atomic"
	"syscall"

	"erlang_python/nif/internal/pollset"
	"erlang_python/nif/internal/queue"
	"erlang_python/nif/internal/registry"
	"erlang_python/nif/internal/wake"
)

// eventLoop is the native half of an event loop: its poll set and its queue of tasks.
//
// It is made by event_loop_new (Erlang) or by a Selector (Python), and closed by whoever comes first of
// event_loop_destroy, the end of its thread and the Selector's close. Its handle finds nothing from then on. The parts are in loop_wait.go,
// loop_park.go (how the BEAM waits for it), loop_thread.go and loop_watch.go.
type eventLoop struct {
	handle   uint64
	resource *C.resource
	set      pollset.Set
	waker    *wake.Waker
	queue    *queue.Queue[task, *task]

	closed    atomic.Bool
	stopping  atomic.Bool // its thread is to end, and was not told yet
	stopAsked atomic.Bool
	woken     atomic.Bool // wake was called since the last wait returned
	awake     atomic.Bool // its thread runs or spins: a push needs no wake-up
	average   atomic.Int64
	done      atomic.Uint64
	// stackSize of the thread that is started with the first task, 0 when the loop shall have none of its own.
	stackSize atomic.Int64
	driven    atomic.Bool
	batches   atomic.Uint64

	cancelCount atomic.Int32 // len(cancels), to be looked at without the lock

	mu      sync.Mutex
	thread  *pythonThread // that drives it, when Erlang started one
	cancels []uint64
	watches map[C.ERL_NIF_TERM]*watch

	parking
	waiting
}

var (
	loops          = registry.New[eventLoop]()
	defaultLimit   = 1 << 20
	loopQueueLimit atomic.Int64
)

func newLoop() (*eventLoop, error) {
	set, err := pollset.New()
	if err != nil {
		return nil, err
	}
	waker, err := wake.New()
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
	l := &eventLoop{set: set, waker: waker, queue: queue.New[task](limit), watches: make(map[C.ERL_NIF_TERM]*watch)}
	l.waiting = newWaiting()
	l.handle = loops.Add(l)
	l.resource = C.resource_new(C.RESOURCE_LOOP, C.uint64_t(l.handle))
	if l.resource == nil {
		l.close()
		return nil, syscall.ENOMEM
	}
	return l, nil
}

// close makes the loop refuse everything and answers what was queued. It must not run on a BEAM thread.
func (l *eventLoop) close() {
	if !l.closed.CompareAndSwap(false, true) {
		return
	}
	loops.Remove(l.handle)
	for _, t := range l.queue.Close() {
		t.fail(C.atoms.closed)
	}
	l.unwatchAll()
	l.releaseSet()
	l.waker.Close()
}

// stop asks the loop's thread to end; the thread closes the loop.
func (l *eventLoop) stop() {
	l.stopAsked.Store(true)
	l.stopping.Store(true)
	l.wake()
}

func (l *eventLoop) wake() {
	l.woken.Store(true)
	l.waker.Wake()
}

func (l *eventLoop) submit(t *task) (accepted bool, reason C.ERL_NIF_TERM) {
	switch l.queue.Push(t) {
	case nil:
		if l.needsThread() {
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

// promising tells whether an answer is likely within awaitLimit.
func (l *eventLoop) promising() bool {
	return l.awake.Load() && l.queue.Len() <= 1 && l.average.Load() < awaitLimit
}
