package main

/*
#include "wake_state.h"
*/
import "C"

import (
	"runtime"
	"unsafe"

	"erlang_python/nif/internal/registry"
	"erlang_python/nif/internal/wake"
)

// wakePin keeps the state of a loop's waker where C finds it.
type wakePin struct {
	state  *wake.State
	pinner runtime.Pinner
}

var wakePins = registry.New[wakePin]()

// C and Go mean the same by a wake_state: an index other than 0 does not compile.
var (
	same = [1]struct{}{}
	_    = same[unsafe.Sizeof(wake.State{})-C.sizeof_wake_state]
	_    = same[wake.StateOffset-C.WAKE_STATE_OFFSET]
	_    = same[wake.WritersOffset-C.WAKE_WRITERS_OFFSET]
	_    = same[wake.NotifiedOffset-C.WAKE_NOTIFIED_OFFSET]
	_    = same[wake.FdOffset-C.WAKE_FD_OFFSET]
	_    = same[wake.Sleeping-C.WAKE_SLEEPING]
	_    = same[wake.Signalled-C.WAKE_SIGNALLED]
)

// core_wake_pin lends the state of the loop's waker to C, until core_wake_unpin of the handle that it returns; 0 when
// the loop is closed.
//
//export core_wake_pin
func core_wake_pin(loop C.uint64_t, state **C.wake_state) C.uint64_t {
	defer guardCallback("wake_pin")
	l := loops.Get(uint64(loop))
	if l == nil {
		return 0
	}
	pin := &wakePin{state: l.waker.State}
	pin.pinner.Pin(pin.state)
	handle := wakePins.Add(pin)
	if handle == 0 {
		pin.pinner.Unpin()
		return 0
	}
	*state = (*C.wake_state)(unsafe.Pointer(pin.state))
	return C.uint64_t(handle)
}

//export core_wake_unpin
func core_wake_unpin(handle C.uint64_t) {
	defer guardCallback("wake_unpin")
	if pin := wakePins.Remove(uint64(handle)); pin != nil {
		pin.pinner.Unpin()
	}
}
