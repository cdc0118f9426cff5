package main

/*
#include "loop_door.h"
#include "resource.h"
*/
import "C"

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"erlang_python/nif/internal/queue"
	"erlang_python/nif/internal/wake"
)

// loopDoor is the part of an eventLoop that those who submit tasks use, most of them in C (loop_submit.c): loop_door.h
// has its layout and says how long it lives.
type loopDoor struct {
	pushers queue.Shared // of eventLoop.queue
	wakers  wake.State   // of eventLoop.waker
	loop    uint64       // the loop's handle
	// destroyed by Erlang: refused from then on, though its thread may need a while to end; set under mu.
	destroyed atomic.Bool
	awake     atomic.Bool // its thread runs or spins: a push needs no wake-up
	quick     atomic.Bool // a submitter may spin for his answer
	undriven  atomic.Bool // its thread is to be started with the next task; set under mu
	_         [40]byte
}

// C and Go mean the same by a loop_door: an index other than 0 does not compile.
var (
	_ = same[unsafe.Sizeof(loopDoor{})-C.sizeof_loop_door]
	_ = same[queue.HeadOffset-C.TASK_QUEUE_HEAD_OFFSET]
	_ = same[queue.LengthOffset-C.TASK_QUEUE_LENGTH_OFFSET]
	_ = same[queue.LimitOffset-C.TASK_QUEUE_LIMIT_OFFSET]
	_ = same[queue.ClosedOffset-C.TASK_QUEUE_CLOSED_OFFSET]
	_ = same[unsafe.Sizeof(queue.Shared{})-C.sizeof_task_queue]
	_ = same[unsafe.Offsetof(loopDoor{}.wakers)-C.LOOP_DOOR_WAKE_OFFSET]
	_ = same[unsafe.Offsetof(loopDoor{}.loop)-C.LOOP_DOOR_HANDLE_OFFSET]
	_ = same[unsafe.Offsetof(loopDoor{}.destroyed)-C.LOOP_DOOR_DESTROYED_OFFSET]
	_ = same[unsafe.Offsetof(loopDoor{}.awake)-C.LOOP_DOOR_AWAKE_OFFSET]
	_ = same[unsafe.Offsetof(loopDoor{}.quick)-C.LOOP_DOOR_QUICK_OFFSET]
	_ = same[unsafe.Offsetof(loopDoor{}.undriven)-C.LOOP_DOOR_UNDRIVEN_OFFSET]
	_ = same[unsafe.Sizeof(atomic.Bool{})-4]
)

// doorPins keeps the doors whose loops have a resource where C finds them, by the handle of the loop.
var doorPins sync.Map

// lendDoor pins the door for the loop's resource.
func (l *eventLoop) lendDoor() {
	pinner := new(runtime.Pinner)
	pinner.Pin(l.loopDoor)
	l.queue.Pin(pinner)
	doorPins.Store(l.handle, pinner)
	l.resource.door = (*C.loop_door)(unsafe.Pointer(l.loopDoor))
}

// unpinDoor is called when the resource of the loop is gone.
func unpinDoor(loop uint64) {
	if pinner, found := doorPins.LoadAndDelete(loop); found {
		pinner.(*runtime.Pinner).Unpin()
	}
}
