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
	"time"
	"unsafe"

	"erlang_python/nif/internal/pollset"
	"erlang_python/nif/internal/registry"
)

// growthDelay is how long a first call waits for a context that runs before another context is started for it. Calls
// that are shorter share a context and are run in batches; calls that block get a context each.
const growthDelay = time.Millisecond

// contextPool holds the contexts of a session and decides which process gets which.
//
// A process's first call goes to `shared`, and whichever context is free takes it; from then on the process is bound
// to that context while it lives, so that thread-bound objects (sqlite3, thread locals) work across its calls and its
// calls run in order. Contexts are started on demand: at once when all that idle are bound to somebody, after
// growthDelay when all are running.
type contextPool struct {
	config configuration

	mu       sync.Mutex
	contexts []*pythonContext
	bindings map[C.ERL_NIF_TERM]*binding
	shared   []*task
	growing  bool // the growth timer is armed
	retry    backoff
	closed   bool

	// sharedCount is len(shared), to be looked at without the lock.
	sharedCount atomic.Int32
}

// binding ties a process to a context from its first call until it dies. Its resource monitors the process; the
// registry keeps the binding reachable until core_resource_down, so stale handles find nothing.
type binding struct {
	pool     *contextPool
	pid      C.ERL_NIF_TERM
	handle   uint64
	resource *C.resource
	context  *pythonContext // nil until a context took the first call
	queued   bool           // the first call is in shared
	waiting  []*task        // later calls of a process whose first call is still in shared
	gone     bool           // the process died
}

var bindings = registry.New[binding]()

func newContextPool(config configuration) *contextPool {
	return &contextPool{config: config, bindings: make(map[C.ERL_NIF_TERM]*binding)}
}

// bind returns the binding of a process, making and monitoring a new one; nil when the process is gone.
// Called with p.mu held.
func (p *contextPool) bind(env *C.ErlNifEnv, pid C.ErlNifPid) *binding {
	if b := p.bindings[pid.pid]; b != nil {
		return b
	}
	b := &binding{pool: p, pid: pid.pid}
	b.handle = bindings.Add(b)
	b.resource = C.resource_new(C.RESOURCE_BINDING, C.uint64_t(b.handle))
	if b.resource == nil {
		bindings.Remove(b.handle)
		return nil
	}
	if C.enif_monitor_process(env, unsafe.Pointer(b.resource), &pid, nil) != 0 {
		bindings.Remove(b.handle)
		C.enif_release_resource(unsafe.Pointer(b.resource))
		return nil
	}
	p.bindings[pid.pid] = b
	return b
}

// unbind forgets a process that died.
func (b *binding) unbind() {
	p := b.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.bindings, b.pid)
	b.gone = true
	if b.context != nil {
		b.context.bound--
	}
	C.enif_release_resource(unsafe.Pointer(b.resource))
}

// submitShared queues a task for whichever context is free first; with bind, the task's process is bound to it.
// False when the queue is full or the pool is closed.
func (p *contextPool) submitShared(env *C.ErlNifEnv, t *task, bind bool) (accepted bool, reason C.ERL_NIF_TERM) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false, C.atoms.closed
	}
	if bind {
		b := p.bind(env, t.c.caller)
		switch {
		case b == nil:
			return false, C.atoms.closed
		case b.context != nil:
			return b.context.submit(t)
		case b.queued && len(b.waiting) >= p.config.queueLimit:
			return false, C.atoms.busy
		case b.queued:
			b.waiting = append(b.waiting, t)
			return true, 0
		}
		t.owner = b
	}
	if len(p.shared) >= p.config.queueLimit {
		t.owner = nil
		return false, C.atoms.busy
	}
	t.queued = pollset.Now()
	if t.owner != nil {
		t.owner.queued = true
	}
	p.shared = append(p.shared, t)
	p.sharedCount.Store(int32(len(p.shared)))
	p.findTaker(bind)
	return true, 0
}

// findTaker wakes or starts a context for the head of shared. Called with p.mu held.
func (p *contextPool) findTaker(bind bool) {
	var idle *pythonContext
	spinning := false
	for _, c := range p.contexts {
		switch {
		case c.busy():
		case c.awake.Load():
			spinning = true
		case idle == nil || c.bound < idle.bound:
			idle = c
		}
	}
	full := len(p.contexts) >= p.config.contexts
	switch {
	case idle != nil && (idle.bound == 0 || !bind || full):
		idle.thread.waker.Wake()
	case spinning:
		// It looks at shared before it sleeps.
		p.armGrowth()
	case idle != nil || len(p.contexts) == 0:
		switch {
		case p.grow():
		case idle != nil:
			idle.thread.waker.Wake()
		default:
			p.armGrowth()
		}
	case !full:
		p.armGrowth()
	}
}

// armGrowth looks again after growthDelay. Called with p.mu held.
func (p *contextPool) armGrowth() {
	if p.growing {
		return
	}
	p.growing = true
	time.AfterFunc(max(growthDelay, p.retry.delay), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.growing = false
		p.growIfStuck()
	})
}

// growIfStuck starts a context when the head of shared has waited for growthDelay: nobody came to it, so the contexts
// that there are block. One at a time, since the next look is soon. Called with p.mu held.
func (p *contextPool) growIfStuck() {
	if p.closed || len(p.shared) == 0 || len(p.contexts) >= p.config.contexts {
		return
	}
	if pollset.Now()-p.shared[0].queued >= growthDelay.Nanoseconds() {
		p.grow()
	}
	p.armGrowth()
}

// grow starts a context if the limit allows; false when there is no thread or descriptor for one now. Called with p.mu
// held.
func (p *contextPool) grow() bool {
	if len(p.contexts) >= p.config.contexts {
		return true
	}
	_, err := p.start()
	p.retry.note(err)
	return err == nil
}

func (p *contextPool) start() (*pythonContext, error) {
	c, err := startContext(p, len(p.contexts)+1)
	if err == nil {
		p.contexts = append(p.contexts, c)
	}
	return c, err
}

// takeShared gives a context that has nothing to do the head of shared, if any, and binds its process.
func (p *contextPool) takeShared(c *pythonContext) *task {
	if p.sharedCount.Load() == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// One that was replaced since it looked must not have processes bound to it.
	if len(p.shared) == 0 || p.closed || c.replaced.Load() {
		return nil
	}
	t := p.shared[0]
	p.shared[0] = nil
	p.shared = p.shared[1:]
	p.sharedCount.Store(int32(len(p.shared)))
	if b := t.owner; b != nil {
		t.owner = nil
		b.assign(c)
	}
	if len(p.shared) > 0 {
		p.findTaker(true)
	}
	return t
}

// assign binds a process to a context and moves its waiting calls there: those of a process that died meanwhile too,
// since casts outlive it. Called with pool.mu held.
func (b *binding) assign(c *pythonContext) {
	b.queued = false
	if !b.gone {
		b.context = c
		c.bound++
	}
	for _, t := range b.waiting {
		if accepted, reason := c.submit(t); !accepted {
			python.onMain(func() { t.fail(reason) })
		}
	}
	b.waiting = nil
}

// lookup is the context that a process is bound to, or nil.
func (p *contextPool) lookup(pid C.ERL_NIF_TERM) *pythonContext {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.bindings[pid]; b != nil {
		return b.context
	}
	return nil
}

// acquire binds a process that made no call yet to the context with the fewest processes, a new one if may be.
func (p *contextPool) acquire(env *C.ErlNifEnv, pid C.ErlNifPid) (*pythonContext, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.bind(env, pid)
	if b == nil || p.closed {
		return nil, errClosed
	}
	if b.context != nil {
		return b.context, nil
	}
	var best *pythonContext
	for _, c := range p.contexts {
		if best == nil || c.bound < best.bound {
			best = c
		}
	}
	if best == nil || best.bound > 0 && len(p.contexts) < p.config.contexts {
		c, err := p.start()
		if err != nil {
			return nil, err
		}
		best = c
	}
	p.withdraw(b)
	b.assign(best)
	return best, nil
}

// withdraw puts a process's first call, if it is in shared, before the calls that wait for it. Called with p.mu held.
func (p *contextPool) withdraw(b *binding) {
	if !b.queued {
		return
	}
	for i, t := range p.shared {
		if t.owner == b {
			t.owner = nil
			p.shared = append(p.shared[:i], p.shared[i+1:]...)
			p.sharedCount.Store(int32(len(p.shared)))
			b.waiting = append([]*task{t}, b.waiting...)
			return
		}
	}
}

// numbered is context number n, from 1; it and those before it are started if need be.
func (p *contextPool) numbered(n int) (*pythonContext, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	for len(p.contexts) < n {
		if _, err := p.start(); err != nil {
			return nil, err
		}
	}
	return p.contexts[n-1], nil
}

// close ends the pool on the main thread: nothing more is accepted, what waits is answered.
func (p *contextPool) close() {
	p.mu.Lock()
	p.closed = true
	shared := p.shared
	p.shared = nil
	p.sharedCount.Store(0)
	var waiting []*task
	for _, t := range shared {
		if b := t.owner; b != nil {
			t.owner = nil
			waiting = append(waiting, b.waiting...)
			b.waiting = nil
		}
	}
	contexts := p.contexts
	p.mu.Unlock()
	for _, t := range append(shared, waiting...) {
		t.fail(C.atoms.closed)
	}
	for _, c := range contexts {
		c.close()
	}
}

func (p *contextPool) describe(env *C.ErlNifEnv) C.ERL_NIF_TERM {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := C.enif_make_list_from_array(env, nil, 0)
	for i := len(p.contexts) - 1; i >= 0; i-- {
		list = C.enif_make_list_cell(env, p.contexts[i].describe(env), list)
	}
	return list
}
