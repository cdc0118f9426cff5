package main

/*
#include "atoms.h"
#include "resource.h"
#include <erl_nif.h>
*/
import "C"

import (
	"syscall"

	"erlang_python/nif/internal/pending"
	"erlang_python/nif/internal/pollset"
	"erlang_python/nif/internal/registry"
)

// direction of a registration.
type direction int

const (
	reading direction = iota
	writing
)

var interestBits = [2]uint32{reading: pollset.Read, writing: pollset.Write}

// registration is what an FdRef names: the interest of one callback in one direction of a descriptor. A later one for
// the same descriptor and direction replaces it. It ends with remove_reader or remove_writer, with its loop, or when
// the last FdRef is garbage.
type registration struct {
	loop      *eventLoop
	fd        int
	direction direction
	callback  uint64
}

var registrations = registry.New[registration]()

func (g *registration) kind() pending.Kind {
	if g.direction == reading {
		return pending.Read
	}
	return pending.Write
}

// register adds g, which is not in the registry yet, to its loop.
func (r *rawEvents) register(env *C.ErlNifEnv, g *registration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errEnded
	}
	if err := r.openSet(); err != nil {
		return err
	}
	interest := interestBits[g.direction]
	if r.byFd[1-g.direction][g.fd] != nil {
		interest |= interestBits[1-g.direction]
	}
	if err := r.set.Add(g.fd, interest); err != nil {
		return err
	}
	if r.byFd[g.direction] == nil {
		r.byFd[g.direction] = make(map[int]*registration)
	}
	if old := r.byFd[g.direction][g.fd]; old != nil && old.callback != g.callback {
		r.pending.Discard(old.callback, old.kind())
	}
	r.byFd[g.direction][g.fd] = g
	r.arm(env, g.loop)
	return nil
}

// unregister ends g; ENOENT when it has ended.
func (r *rawEvents) unregister(env *C.ErlNifEnv, g *registration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errEnded
	}
	if r.byFd[g.direction][g.fd] != g {
		return syscall.ENOENT
	}
	r.forget(g)
	r.arm(env, g.loop)
	return nil
}

func (r *rawEvents) forget(g *registration) {
	delete(r.byFd[g.direction], g.fd)
	r.pending.Discard(g.callback, g.kind())
	if r.byFd[1-g.direction][g.fd] != nil && r.set.Modify(g.fd, interestBits[1-g.direction]) == nil {
		return
	}
	// Also when the descriptor was closed before it was removed: the kernel forgot it then, and so does the set.
	_ = r.set.Remove(g.fd)
}

// abandon ends a registration whose FdRef is garbage. Runs on whatever thread collects garbage.
func (g *registration) abandon() {
	r := &g.loop.raw
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.byFd[g.direction][g.fd] != g {
		return
	}
	r.forget(g)
	if r.set.Len() == 0 && r.selected {
		// The BEAM keeps the loop alive while it knows its poll set; a loop that nobody has any more shall end.
		l := g.loop
		go func() {
			defer guardCallback("a descriptor's end")
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.set != nil && r.set.Len() == 0 {
				r.closeSet(nil, l)
			}
		}()
	}
}
