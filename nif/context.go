package main

/*
#include "atoms.h"
#include "resource.h"
#include "task_run.h"
#include <erl_nif.h>
#include <stdlib.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/cpu"

	"erlang_python/nif/internal/pollset"
	"erlang_python/nif/internal/queue"
	"erlang_python/nif/internal/registry"
	"erlang_python/nif/internal/spin"
)

const (
	// contextBatch bounds how many tasks run in one hold of the GIL.
	contextBatch = C.TASK_BATCH
	// spinLimit bounds a thread's spin for more work before it sleeps: sleeping and waking cost tens of microseconds.
	spinLimit = 100_000
	// awaitLimit bounds a submitter's spin for its answer, in nanoseconds, so that a BEAM scheduler is never held.
	awaitLimit = C.TASK_AWAIT_LIMIT
)

var errClosed = errors.New("closed")

// maySpin: on a single processor a submitter that spins keeps the runner from it.
var maySpin = runtime.NumCPU() > 1

// isQuick tells whether a submitter may spin for the answer of a task like those that took so many nanoseconds.
func isQuick(average int64) bool { return maySpin && average < awaitLimit }

// pythonContext is one OS thread that runs the calls given to it, in order. It lives from startContext until its
// pool closes and the call that it runs then returns.
//
// The fields are grouped by who writes them, as those of an eventLoop.
type pythonContext struct {
	pool     *contextPool
	number   int
	handle   uint64
	resource *C.resource
	thread   *pythonThread
	queue    *queue.Queue[task, *task]
	bound    int // processes bound to it, under pool.mu
	closed   atomic.Bool
	replaced atomic.Bool // another one has its handle, and closed is set
	awake    atomic.Bool // not sleeping: a push needs no wake-up and an answer may come soon
	quick    atomic.Bool // a submitter may spin for his answer

	_ cpu.CacheLinePad

	spin    spin.Policy
	batch   []*task
	c       **C.task // batch for C
	further *C.bool  // those that have another step
	// again holds tasks whose next step comes after what is queued; chains is their number.
	again   []*task
	chains  atomic.Int32
	running atomic.Int64 // when the batch that runs began, in monotonic nanoseconds; 0 when none runs
	average int64        // recent nanoseconds of a task
	done    atomic.Uint64
}

var contexts = registry.New[pythonContext]()

func newContext(p *contextPool, number int) *pythonContext {
	c := &pythonContext{pool: p, number: number, queue: queue.New[task](p.config.queueLimit)}
	c.spin = spin.New(spinLimit)
	c.awake.Store(true)
	c.quick.Store(isQuick(0))
	return c
}

// continueContext starts a context that is to go on for another, which keeps running what it runs.
func continueContext(other *pythonContext) (*pythonContext, error) {
	c := newContext(other.pool, other.number)
	c.handle, c.resource = other.handle, other.resource
	thread, err := startThread(c.pool.config.stackSize, c.run)
	c.thread = thread
	return c, err
}

func startContext(p *contextPool, number int) (*pythonContext, error) {
	c := newContext(p, number)
	c.handle = contexts.Add(c)
	c.resource = C.resource_new(C.RESOURCE_CONTEXT, C.uint64_t(c.handle))
	if c.resource == nil {
		contexts.Remove(c.handle)
		return nil, errors.New("cannot start a context: no memory")
	}
	thread, err := startThread(p.config.stackSize, c.run)
	if err != nil {
		contexts.Remove(c.handle)
		C.enif_release_resource(unsafe.Pointer(c.resource))
		return nil, fmt.Errorf("cannot start a context: %w", err)
	}
	c.thread = thread
	return c, nil
}

// submit queues a task; the reason is given when it is not accepted.
func (c *pythonContext) submit(t *task) (accepted bool, reason C.ERL_NIF_TERM) {
	switch c.queue.Push(t) {
	case nil:
		c.thread.waker.Wake()
		return true, 0
	case queue.ErrFull:
		return false, C.atoms.busy
	default:
		return false, C.atoms.closed
	}
}

// submitOrFollow is submit for a context that was looked up by its reference: if it was replaced since, the task goes to
// the one that has its place.
func (c *pythonContext) submitOrFollow(t *task) (accepted bool, reason C.ERL_NIF_TERM) {
	for {
		accepted, reason = c.submit(t)
		next := contexts.Get(c.handle)
		if accepted || next == nil || next == c {
			return accepted, reason
		}
		c = next
	}
}

// busy tells whether the context has something to run.
func (c *pythonContext) busy() bool {
	return c.running.Load() != 0 || !c.queue.Empty() || c.chains.Load() > 0
}

// promising tells whether an answer is likely within awaitLimit.
func (c *pythonContext) promising() bool {
	return c.awake.Load() && c.quick.Load() && c.queue.Len() <= 1
}

// close makes the queue refuse and answers what was in it. Runs on the main thread.
func (c *pythonContext) close() {
	c.closed.Store(true)
	for _, t := range c.queue.Close() {
		t.fail(C.atoms.closed)
	}
	c.thread.waker.Wake()
	c.thread.interrupt(c.runs)
}

// runs tells whether its thread runs a batch.
func (c *pythonContext) runs() bool { return c.running.Load() != 0 }

// run is the life of the context's thread.
func (c *pythonContext) run(thread *pythonThread) {
	if err := thread.attach(); err != nil {
		logEvent(err.Error())
		return
	}
	c.batch = make([]*task, 0, contextBatch)
	c.c = (**C.task)(C.calloc(contextBatch, C.size_t(unsafe.Sizeof(uintptr(0)))))
	c.further = (*C.bool)(C.calloc(contextBatch, 1))
	for c.take(thread) {
		c.runBatch(thread)
	}
	C.free(unsafe.Pointer(c.c))
	C.free(unsafe.Pointer(c.further))
	for _, t := range c.again {
		t.fail(C.atoms.closed)
	}
	if c.replaced.Load() {
		abandonedContexts.Add(-1)
	} else {
		contexts.Remove(c.handle)
		C.enif_release_resource(unsafe.Pointer(c.resource))
	}
	thread.detach()
}

// take fills c.batch; false when the context is closed.
func (c *pythonContext) take(thread *pythonThread) bool {
	idleSince := pollset.Now()
	for first := true; ; first = false {
		if c.replaced.Load() {
			return false
		}
		if c.poll() {
			if !first {
				c.spin.Observe(pollset.Now() - idleSince)
			}
			return true
		}
		if c.closed.Load() {
			return false
		}
		if first && c.spinFor(c.spin.Budget()) {
			continue
		}
		c.sleep(thread)
	}
}

// poll takes what there is: one of the tasks that any context may take, and its own. With both in each batch, neither
// waits for ever under a steady load of the other: first calls of ever new processes, or calls of those bound to it.
func (c *pythonContext) poll() bool {
	c.batch = c.batch[:0]
	if t := c.pool.takeShared(c); t != nil {
		c.batch = append(c.batch, t)
	}
	c.batch = c.queue.Take(c.batch, contextBatch/2)
	if len(c.again) > 0 && !c.closed.Load() {
		n := min(len(c.again), contextBatch-len(c.batch))
		c.batch = append(c.batch, c.again[:n]...)
		c.again = append(c.again[:0], c.again[n:]...)
		c.chains.Store(int32(len(c.again)))
	}
	return len(c.batch) > 0
}

func (c *pythonContext) ready() bool {
	return !c.queue.Empty() || c.pool.sharedCount.Load() > 0 || c.closed.Load()
}

func (c *pythonContext) spinFor(budget int64) bool {
	return budget > 0 && spin.Until(pollset.Now()+budget, c.ready)
}

func (c *pythonContext) sleep(thread *pythonThread) {
	c.awake.Store(false)
	thread.waker.Prepare()
	if !c.ready() {
		_, _ = thread.waker.Sleep(-1)
	}
	thread.waker.Clear()
	c.awake.Store(true)
}

func (c *pythonContext) runBatch(thread *pythonThread) {
	began := pollset.Now()
	n := len(c.batch)
	list := unsafe.Slice(c.c, contextBatch)
	key := C.uint64_t(thread.handle | contextKeyBit)
	for i, t := range c.batch {
		t.c.loop = key
		list[i] = t.c
	}
	// In this order: who closes the context looks at running after it has set closed, so either he interrupts the
	// batch, or it does not run.
	c.running.Store(began)
	if c.closed.Load() {
		c.refuseBatch()
		c.running.Store(0)
		return
	}
	again := int(C.task_run_batch(thread.state, C.uint64_t(thread.handle), c.c, C.size_t(n), c.further))
	if again > 0 {
		for i, further := range unsafe.Slice(c.further, n) {
			if further {
				c.again = append(c.again, c.batch[i])
			}
		}
		c.chains.Store(int32(len(c.again)))
	}
	c.done.Add(uint64(n))
	took := (pollset.Now() - began) / int64(n)
	c.average = (c.average*7 + took) / 8
	if quick := isQuick(c.average); quick != c.quick.Load() {
		c.quick.Store(quick)
	}
	c.running.Store(0)
}

// refuseBatch answers what was taken from the queue just before the context was closed.
func (c *pythonContext) refuseBatch() {
	reason := C.atoms.closed
	if c.replaced.Load() {
		reason = C.atoms.context_replaced
	}
	for _, t := range c.batch {
		t.fail(reason)
	}
}

func (c *pythonContext) describe(env *C.ErlNifEnv) C.ERL_NIF_TERM {
	busy := int64(0)
	if began := c.running.Load(); began != 0 {
		busy = pollset.Now() - began
	}
	return makeMap(env, map[string]C.ERL_NIF_TERM{
		"number":    makeInteger(env, int64(c.number)),
		"queued":    makeInteger(env, int64(c.queue.Len())),
		"processes": makeInteger(env, int64(c.bound)),
		"done":      makeInteger(env, int64(c.done.Load())),
		"busy_ns":   makeInteger(env, busy),
	})
}
