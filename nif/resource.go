package main

/*
#include "resource.h"
#include <erl_nif.h>
*/
import "C"

import "syscall"

// The callbacks of the NIF resources, called on BEAM threads: none of them takes the GIL or waits.

// core_resource_down: a monitored process died.
//
//export core_resource_down
func core_resource_down(kind C.int, handle C.uint64_t, pid *C.ErlNifPid) {
	defer guardCallback("a monitor")
	switch kind {
	case C.RESOURCE_BINDING:
		if b := bindings.Remove(uint64(handle)); b != nil {
			b.unbind()
		}
	case C.RESOURCE_WATCH:
		if w := watches.Get(uint64(handle)); w != nil {
			w.down()
		}
	case C.RESOURCE_LOOP:
		if l := loops.Get(uint64(handle)); l != nil {
			l.workerDown(pid.pid)
		}
	case C.RESOURCE_CHANNEL:
		if c := channels.Get(uint64(handle)); c != nil {
			c.closeLater()
		}
	case C.RESOURCE_PROCESS:
		if w := watchedProcesses.Get(uint64(handle)); w != nil {
			w.release(true)
		}
	}
}

// core_resource_stop: enif_select let go of the descriptor of a loop's poll set, which only now may be closed.
//
//export core_resource_stop
func core_resource_stop(kind C.int, handle C.uint64_t, fd C.int) {
	defer guardCallback("a stop")
	if kind == C.RESOURCE_LOOP {
		// Of the loop's own poll set or of the one for Erlang's descriptors.
		_ = syscall.Close(int(fd))
	}
}

// core_resource_gone: the last reference to a resource is gone.
//
//export core_resource_gone
func core_resource_gone(kind C.int, handle C.uint64_t) {
	defer guardCallback("a destructor")
	switch kind {
	case C.RESOURCE_FD:
		if g := registrations.Remove(uint64(handle)); g != nil {
			g.abandon()
		}
	case C.RESOURCE_TIMER:
		rawTimers.Remove(uint64(handle))
	case C.RESOURCE_LOOP:
		unpinDoor(uint64(handle))
		if l := loops.Get(uint64(handle)); l != nil {
			l.forgotten()
		}
	case C.RESOURCE_CHANNEL:
		if c := channels.Remove(uint64(handle)); c != nil {
			c.dispose()
		}
	case C.RESOURCE_PROCESS:
		if w := watchedProcesses.Remove(uint64(handle)); w != nil {
			w.release(true)
		}
	}
}
