package main

/*
#include "atoms.h"
#include "task_pool.h"
*/
import "C"

import "sync/atomic"

// abandonedContexts counts the threads of contexts that were replaced and that did not come back yet.
var abandonedContexts atomic.Int64

// contextKeyBit, with the handle of a context's thread, marks in task.loop who has taken a task: no handle has that bit.
const contextKeyBit = 1 << 63

// replace puts a new context in the place of one whose thread does not come back. The reference in Erlang, the number
// and the bound processes go over to the new one. Everybody who waits for the old one is answered
// {error, context_replaced}; its thread ends as soon as it comes back.
func (p *contextPool) replace(c *pythonContext) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	index := -1
	for i, other := range p.contexts {
		if other == c {
			index = i
		}
	}
	if p.closed || index < 0 {
		return errClosed
	}
	fresh, err := continueContext(c)
	if err != nil {
		return err
	}
	c.replaced.Store(true)
	abandonedContexts.Add(1)
	contexts.Replace(c.handle, fresh)
	p.contexts[index] = fresh
	fresh.bound = c.bound
	for _, b := range p.bindings {
		if b.context == c {
			b.context = fresh
		}
	}
	// Not here: sending is not for threads of the BEAM.
	go func() {
		defer guardCallback("replacing a context")
		c.abandon()
	}()
	return nil
}

// abandon answers everybody who waits for the context and asks its thread to end.
func (c *pythonContext) abandon() {
	c.closed.Store(true)
	for _, t := range c.queue.Close() {
		t.fail(C.atoms.context_replaced)
	}
	key := C.uint64_t(c.thread.handle | contextKeyBit)
	C.task_pool_answer_for(key, C.atoms.context_replaced)
	c.thread.waker.Wake()
	c.thread.interrupt(c.runs)
	// The thread may have been woken for a message of a channel.
	wakeOthers()
}
