package main

/*
#include "resource.h"
#include <erl_nif.h>
*/
import "C"

import (
	"unsafe"

	"erlang_python/nif/internal/registry"
)

// watch ties the suspended tasks of a process to its life: when it dies they are cancelled. It is made for a
// process's first suspended task on a loop and kept until the process or the loop ends, since a process that has
// submitted once does so again. Its resource monitors the process.
type watch struct {
	loop     *eventLoop
	pid      C.ERL_NIF_TERM
	handle   uint64
	resource *C.resource
	keys     map[uint64]struct{}
}

var watches = registry.New[watch]()

// watch is called by the loop's thread.
func (l *eventLoop) watch(pid C.ERL_NIF_TERM, key uint64) {
	l.mu.Lock()
	w := l.watches[pid]
	if w != nil {
		w.keys[key] = struct{}{}
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	w = &watch{loop: l, pid: pid, keys: map[uint64]struct{}{key: {}}}
	w.handle = watches.Add(w)
	w.resource = C.resource_new(C.RESOURCE_WATCH, C.uint64_t(w.handle))
	if w.resource == nil {
		watches.Remove(w.handle)
		return
	}
	l.mu.Lock()
	l.watches[pid] = w
	l.mu.Unlock()
	process := C.ErlNifPid{pid: pid}
	if C.enif_monitor_process(nil, unsafe.Pointer(w.resource), &process, nil) != 0 {
		w.down()
	}
}

func (l *eventLoop) unwatch(pid C.ERL_NIF_TERM, key uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.watches[pid]; w != nil {
		delete(w.keys, key)
	}
}

// down cancels the tasks of a process that died. Exactly one caller gets to release the resource.
func (w *watch) down() {
	if watches.Remove(w.handle) == nil {
		return
	}
	l := w.loop
	l.mu.Lock()
	if l.watches[w.pid] == w {
		delete(l.watches, w.pid)
	}
	l.mu.Unlock()
	keys := make([]uint64, 0, len(w.keys))
	for key := range w.keys {
		keys = append(keys, key)
	}
	l.cancel(keys...)
	C.enif_release_resource(unsafe.Pointer(w.resource))
}

// unwatchAll ends all watches of a loop that closes.
func (l *eventLoop) unwatchAll() {
	l.mu.Lock()
	all := l.watches
	l.watches = make(map[C.ERL_NIF_TERM]*watch)
	l.mu.Unlock()
	for _, w := range all {
		if watches.Remove(w.handle) != nil {
			C.enif_release_resource(unsafe.Pointer(w.resource))
		}
	}
}
