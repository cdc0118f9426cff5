package main

/*
#cgo noescape task_prepare
#cgo nocallback task_prepare
#cgo noescape task_pool_get
#cgo nocallback task_pool_get
#include "atoms.h"
#include "task.h"
#include "task_pool.h"
*/
import "C"

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"erlang_python/nif/internal/queue"
)

// task is the Go side of a C.task (task.h describes its life) on its way to a context. The two belong together for
// good once they have met.
type task struct {
	queue.Link[task]
	c *C.task
	// owner is the process that the context binding of a first call waits for (context_pool.go).
	owner *binding
	// queued is when it was put into the pool's shared queue, in monotonic nanoseconds.
	queued int64
}

// loopTask is a C.task on its way to an event loop, which links it by its own memory.
type loopTask C.task

// QueueLink is the link of the loop's queue.
func (t *loopTask) QueueLink() *queue.Link[loopTask] {
	return (*queue.Link[loopTask])(unsafe.Pointer(&t.next))
}

var _ = same[unsafe.Sizeof(queue.Link[loopTask]{})-unsafe.Sizeof(uintptr(0))]

// taskSides holds the Go sides by the slots of their C.task.
type taskSides struct {
	mu     sync.Mutex
	bySlot []*task
}

var sides taskSides

// sideOf is the Go side of a task.
func sideOf(c *C.task) *task {
	slot := int(c.slot)
	sides.mu.Lock()
	defer sides.mu.Unlock()
	if missing := slot + 1 - len(sides.bySlot); missing > 0 {
		sides.bySlot = append(sides.bySlot, make([]*task, missing)...)
	}
	t := sides.bySlot[slot]
	if t == nil {
		t = &task{c: c}
		sides.bySlot[slot] = t
	}
	return t
}

// taskBySlot finds the task of a slot that is in use.
func taskBySlot(slot C.uint64_t) *task { return sideOf(C.task_pool_at(slot)) }

// put gives the task back to the pool, which it is finished with. One that somebody claimed is his to put.
func (t *task) put() { C.task_pool_put(t.c) }

// generation is that of the C.task's state; it changes when the task is given back.
func (t *task) generation() uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&t.c.state))) >> C.TASK_PHASE_BITS
}

// id is what Erlang knows a task of that generation by.
func (t *task) id(generation uint64) C.uint64_t { return C.task_id(t.c, C.uint64_t(generation)) }

// fail answers a task that will not run. Must not be called on a BEAM thread, which could hold the locks that
// sending to a process takes.
func (t *task) fail(reason C.ERL_NIF_TERM) { failTask(t.c, reason) }

func failTask(c *C.task, reason C.ERL_NIF_TERM) {
	if C.task_finish(c, C.task_error(c, reason)) {
		C.task_pool_put(c)
	}
}

// submission reads the common arguments of context_call and its likes, from Reference on, into a task.
func submission(env *C.ErlNifEnv, argv []C.ERL_NIF_TERM, phase C.task_phase) *task {
	c := C.task_pool_get()
	if c == nil {
		return nil
	}
	if !C.task_prepare(env, &argv[0], phase, c) {
		C.task_pool_put(c)
		return nil
	}
	return sideOf(c)
}

// core_task_cancel(Id) decides between reply and cancellation: true when nothing will be sent for the task any more.
//
//export core_task_cancel
func core_task_cancel(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	id, ok := getInteger(env, arguments(argc, argv)[0])
	if !ok || id < 0 {
		return C.enif_make_badarg(env)
	}
	return makeBool(env, bool(C.task_pool_cancel(C.uint64_t(id))))
}
