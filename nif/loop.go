package main

/*
#include "atoms.h"
#include "loop_ready.h"
#include "resource.h"
#include <erl_nif.h>
*/
import "C"

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"erlang_python/nif/internal/pollset"
	"erlang_python/nif/internal/queue"
	"erlang_python/nif/internal/registry"
	"erlang_python/nif/internal/spin"
	"erlang_python/nif/internal/wake"
)

// eventLoop is the native half of an event loop: its poll set and its queue of tasks.
//
// It is made by event_loop_new (Erlang) or by a Selector (Python), and closed by whoever comes first of
// event_loop_destroy, the end of its thread and the Selector's close. `references` counts who may still use the poll
// set; the last of them frees it. Only the thread that waits uses the fields below `waiting`.
type eventLoop struct {
	handle   uint64
	resource *C.resource
	set      pollset.Set
	waker    *wake.Waker
	queue    *queue.Queue[task, *task]

	closed   atomic.Bool
	stopping atomic.Bool // its thread is to end
	woken    atomic.Bool // wake was called since the last wait returned
	awake    atomic.Bool // its thread runs or spins: a push needs no wake-up
	average  atomic.Int64
	done     atomic.Uint64
	// stackSize of the thread that is started with the first task, 0 when the loop shall have none of its own.
	stackSize atomic.Int64
	driven    atomic.Bool
	batches  atomic.Uint64

	mu      sync.Mutex
	thread  *pythonThread // that drives it, when Erlang started one
	cancels []uint64
	watches map[C.ERL_NIF_TERM]*watch

	// Of the waiting thread.
	spin    spin.Policy
	events  []pollset.Event
	batch   []*task
	began   int64 // when the batch that runs was handed out
	workEnd int64 // when the last batch ended
	looked  int64 // when the poll set was last looked at
}

// loopLookInterval bounds how long a stream of tasks may keep a loop from looking at its poll set.
const loopLookInterval = 50_000

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
	l.spin = spin.New(spinLimit)
	l.events = make([]pollset.Event, C.LOOP_EVENTS)
	l.batch = make([]*task, 0, C.LOOP_TASKS)
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
	l.set.Close(false)
	l.waker.Close()
	if l.resource != nil {
		C.enif_release_resource(unsafe.Pointer(l.resource))
	}
}

// stop asks the loop's thread to end; the thread closes the loop.
func (l *eventLoop) stop() {
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

func (l *eventLoop) cancel(key uint64) {
	l.mu.Lock()
	l.cancels = append(l.cancels, key)
	l.mu.Unlock()
	l.waker.Wake()
}

// pendingWork tells whether a wait would return at once, poll set aside.
func (l *eventLoop) pendingWork() bool {
	return !l.queue.Empty() || l.woken.Load() || l.stopping.Load() || l.closed.Load() || l.hasCancels()
}

func (l *eventLoop) hasCancels() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.cancels) > 0
}

// wait fills ready with what there is to do, waiting until deadline (monotonic nanoseconds; 0 not at all, -1 for ever).
func (l *eventLoop) wait(ready *C.loop_ready, deadline int64) C.int {
	ready.event_count, ready.task_count, ready.cancel_count = 0, 0, 0
	l.endBatch()
	for first := true; ; first = false {
		status, found := l.collect(ready, deadline, first)
		if found {
			return status
		}
		if first && l.spinFor(deadline) {
			continue
		}
		if err := l.sleep(ready, deadline); err != nil {
			return errorStatus(err)
		}
	}
}

// collect gathers without waiting.
func (l *eventLoop) collect(ready *C.loop_ready, deadline int64, first bool) (status C.int, found bool) {
	if l.closed.Load() {
		return -C.int(syscall.EBADF), true
	}
	l.takeTasks(ready)
	l.takeCancels(ready)
	now := pollset.Now()
	if ready.task_count == 0 || now-l.looked > loopLookInterval || deadline == 0 {
		l.looked = now
		if err := l.look(ready, 0); err != nil {
			return errorStatus(err), true
		}
	}
	woken := l.woken.Swap(false)
	ready.stop = C.bool(l.stopping.Swap(false))
	switch {
	case woken || bool(ready.stop):
		return C.LOOP_WOKEN, true
	case deadline == 0 || deadline > 0 && now >= deadline:
		return C.LOOP_TIMEOUT, true
	case ready.task_count > 0 || ready.cancel_count > 0 || ready.event_count > 0:
		return C.LOOP_READY, true
	}
	return 0, false
}

func errorStatus(err error) C.int {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return -C.int(errno)
	}
	return -C.int(syscall.EIO)
}

func (l *eventLoop) takeTasks(ready *C.loop_ready) {
	if l.queue.Empty() {
		return
	}
	l.batch = l.queue.Take(l.batch[:0], C.LOOP_TASKS)
	for i, t := range l.batch {
		ready.tasks[i] = t.c
	}
	ready.task_count = C.int32_t(len(l.batch))
	if len(l.batch) > 0 {
		l.batches.Add(1)
		l.began = pollset.Now()
		if l.workEnd != 0 {
			l.spin.Observe(l.began - l.workEnd)
		}
	}
}

// endBatch measures the batch that the last wait handed out.
func (l *eventLoop) endBatch() {
	if l.began == 0 {
		return
	}
	l.workEnd = pollset.Now()
	took := (l.workEnd - l.began) / int64(len(l.batch))
	l.average.Store((l.average.Load()*7 + took) / 8)
	l.done.Add(uint64(len(l.batch)))
	l.began = 0
}

func (l *eventLoop) takeCancels(ready *C.loop_ready) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.cancels), C.LOOP_CANCELS)
	for i, key := range l.cancels[:n] {
		ready.cancels[i] = C.uint64_t(key)
	}
	ready.cancel_count = C.int32_t(n)
	l.cancels = l.cancels[n:]
	if len(l.cancels) == 0 {
		l.cancels = nil
	}
}

// look harvests the poll set, waiting up to timeout nanoseconds (negative: for ever).
func (l *eventLoop) look(ready *C.loop_ready, timeout int64) error {
	n, _, err := l.set.Wait(l.events, timeout)
	if err != nil && err != pollset.ErrStale {
		return err
	}
	for i, event := range l.events[:n] {
		ready.events[i] = C.loop_event{fd: C.int32_t(event.Fd), mask: C.uint32_t(event.Mask)}
	}
	ready.event_count = C.int32_t(n)
	return nil
}

// spinFor waits a little for tasks without the system's help: true when there is something to collect. The poll set is
// looked at by the collect that follows, so that sockets are served too.
func (l *eventLoop) spinFor(deadline int64) bool {
	budget := l.spin.Budget()
	if budget <= 0 {
		return false
	}
	end := pollset.Now() + budget
	if deadline > 0 && deadline < end {
		end = deadline
	}
	for pollset.Now() < end {
		for i := 0; i < 32; i++ {
			if !l.queue.Empty() {
				return true
			}
		}
	}
	return l.pendingWork()
}

// sleep waits in the poll set, with the waker in it.
func (l *eventLoop) sleep(ready *C.loop_ready, deadline int64) error {
	timeout := int64(-1)
	if deadline > 0 {
		timeout = max(deadline-pollset.Now(), 0)
	}
	l.awake.Store(false)
	l.waker.Prepare()
	if l.pendingWork() {
		timeout = 0
	}
	err := l.look(ready, timeout)
	l.waker.Clear()
	l.awake.Store(true)
	return err
}
