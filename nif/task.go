package main

/*
#cgo noescape task_prepare
#cgo nocallback task_prepare
#cgo noescape task_prepare_for_loop
#cgo nocallback task_prepare_for_loop
#cgo noescape task_give_up_waiting
#cgo nocallback task_give_up_waiting
#cgo noescape task_recycle
#cgo nocallback task_recycle
#include "atoms.h"
#include "task.h"
*/
import "C"

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"erlang_python/nif/internal/queue"
)

// task is the Go side of a C.task (task.h describes its life). The two are made together and stay together; both are
// kept for the next submission when a task is done.
type task struct {
	queue.Link[task]
	c    *C.task
	slot uint64
	// owner is the process that the context binding of a first call waits for (context_pool.go).
	owner *binding
	// queued is when it was put into the pool's shared queue, in monotonic nanoseconds.
	queued int64
}

// taskPoolKeep bounds how many finished tasks keep their environment.
const taskPoolKeep = 16384

// taskPool hands out tasks. The C.task itself is never freed: a submitter that spins, or a canceller with an old id,
// may look at its state word at any time. Its lock also guards the slots.
type taskPool struct {
	mu    sync.Mutex
	free  []*task // with an environment
	bare  []*task // without
	slots []*task
}

var tasks taskPool

// get returns a task in phase FREE, or nil when there is no memory.
func (p *taskPool) get() *task {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		t := p.free[n-1]
		p.free = p.free[:n-1]
		return t
	}
	if n := len(p.bare); n > 0 {
		t := p.bare[n-1]
		if !C.task_restore(t.c) {
			return nil
		}
		p.bare = p.bare[:n-1]
		return t
	}
	slot := uint64(len(p.slots))
	c := C.task_new(C.uint64_t(slot))
	if c == nil {
		return nil
	}
	t := &task{c: c, slot: slot}
	p.slots = append(p.slots, t)
	return t
}

// put takes back a task that is finished. One that somebody claimed is his to put.
func (p *taskPool) put(t *task) {
	if t.recycle() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.keep(t)
	}
}

// putRetired takes back a task of which C says whose it is.
func (p *taskPool) putRetired(t *task, custody C.uint8_t) {
	if t.retire(custody) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.keep(t)
	}
}

// putBatch takes back those tasks of a batch that are ours, as custody says of each.
func (p *taskPool) putBatch(batch []*task, custody []C.uint8_t) {
	ours := 0
	for i, t := range batch {
		if t.retire(custody[i]) {
			ours++
		} else {
			custody[i] = C.TASK_ELSEWHERE
		}
	}
	if ours == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, t := range batch {
		if custody[i] != C.TASK_ELSEWHERE {
			p.keep(t)
		}
	}
}

// keep puts a recycled task where get finds it. The caller holds mu.
func (p *taskPool) keep(t *task) {
	if len(p.free) < taskPoolKeep {
		p.free = append(p.free, t)
		return
	}
	C.task_trim(t.c)
	p.bare = append(p.bare, t)
}

// retire completes what C began; true when the task is the pool's.
func (t *task) retire(custody C.uint8_t) bool {
	switch custody {
	case C.TASK_RETIRED:
		t.disown()
		return true
	case C.TASK_FINISHED:
		return t.recycle()
	}
	return false
}

// generation is that of the C.task's state; it changes when the task is taken back.
func (t *task) generation() uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&t.c.state))) >> C.TASK_PHASE_BITS
}

// disown writes only when there is something to forget: most tasks never leave the caches of those who read them.
func (t *task) disown() {
	if t.owner != nil {
		t.owner = nil
	}
}

func (t *task) recycle() bool {
	t.disown()
	if t.c.object != nil {
		dropLater(t.c.object)
		t.c.object = nil
	}
	return bool(C.task_recycle(t.c))
}

// snapshot is all tasks that there are, in use or not. They are never freed.
func (p *taskPool) snapshot() []*task {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.slots[:len(p.slots):len(p.slots)]
}

// bySlot finds the Go side of a task that is in use.
func (p *taskPool) bySlot(slot uint64) *task {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.slots[slot]
}

// A task's id in Erlang is its slot and generation in one small integer.
const (
	generationBits = 30
	generationMask = 1<<generationBits - 1
)

func (t *task) id(generation uint64) uint64 {
	return t.slot<<generationBits | generation&generationMask
}

// cancel decides between reply and cancellation: true when nothing will be sent for the task any more.
func (p *taskPool) cancel(id uint64) bool {
	slot, generation := id>>generationBits, id&generationMask
	p.mu.Lock()
	defer p.mu.Unlock()
	if slot >= uint64(len(p.slots)) {
		return false
	}
	c := p.slots[slot].c
	current := uint64(C.task_generation(c))
	return current&generationMask == generation && bool(C.task_cancel(c, C.uint64_t(current)))
}

// fail answers a task that will not run. Must not be called on a BEAM thread, which could hold the locks that
// sending to a process takes.
func (t *task) fail(reason C.ERL_NIF_TERM) {
	if C.task_finish(t.c, C.task_error(t.c, reason)) {
		tasks.put(t)
	}
}

// submission reads the common arguments of context_call and its likes, from Reference on, into a task.
func submission(env *C.ErlNifEnv, argv []C.ERL_NIF_TERM, phase C.task_phase) *task {
	t := tasks.get()
	if t == nil {
		return nil
	}
	if !C.task_prepare(env, &argv[0], phase, t.c) {
		tasks.put(t)
		return nil
	}
	return t
}

// loopSubmission is submission to the loop that the first argument names; the handle may be that of one that is closed.
func loopSubmission(env *C.ErlNifEnv, argv []C.ERL_NIF_TERM, phase C.task_phase) (*task, uint64) {
	t := tasks.get()
	if t == nil {
		return nil, 0
	}
	// One call into C for both: it costs more than what either does.
	handle := C.task_prepare_for_loop(env, &argv[0], phase, t.c)
	if handle == 0 {
		tasks.put(t)
		return nil, 0
	}
	return t, uint64(handle)
}

//export core_task_cancel
func core_task_cancel(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	id, ok := getInteger(env, arguments(argc, argv)[0])
	if !ok || id < 0 {
		return C.enif_make_badarg(env)
	}
	return makeBool(env, tasks.cancel(uint64(id)))
}
