package main

/*
#include "python_runtime.h"
*/
import "C"

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"

	"erlang_python/nif/internal/registry"
	"erlang_python/nif/internal/wake"
)

// pythonThread is an OS thread that runs Python and nothing else: a context's, a loop's or Python's main thread.
//
// It is created by startThread, runs its body once, and removes itself from the registry when the body returns.
// Only the thread itself uses state.
type pythonThread struct {
	handle   uint64
	waker    *wake.Waker
	body     func(*pythonThread)
	state    unsafe.Pointer // PyThreadState, attached for the thread's life
	identity atomic.Uint64  // threading.get_ident(), 0 before it is known
}

var threads = registry.New[pythonThread]()

// startThread runs body on a new OS thread with a stack of stackSize bytes.
func startThread(stackSize int64, body func(*pythonThread)) (*pythonThread, error) {
	waker, err := wake.New()
	if err != nil {
		return nil, fmt.Errorf("cannot make a thread's waker: %w", err)
	}
	thread := &pythonThread{waker: waker, body: body}
	thread.handle = threads.Add(thread)
	status := C.python_thread_create(C.uint64_t(thread.handle), C.size_t(stackSize))
	if status != 0 {
		threads.Remove(thread.handle)
		waker.Close()
		return nil, fmt.Errorf("cannot create a thread: %w", syscall.Errno(status))
	}
	return thread, nil
}

//export core_thread_main
func core_thread_main(handle C.uint64_t) {
	defer guardCallback("a Python thread")
	thread := threads.Get(uint64(handle))
	thread.identity.Store(uint64(C.python_thread_identity()))
	thread.body(thread)
	threads.Remove(thread.handle)
	thread.waker.Close()
}

// attach ties the calling thread to the interpreter for its life.
func (t *pythonThread) attach() error {
	t.state = C.python_thread_attach()
	if t.state == nil {
		return fmt.Errorf("cannot make a Python thread state")
	}
	return nil
}

// detach is the last thing that an attached thread does.
func (t *pythonThread) detach() {
	C.python_thread_detach(t.state)
	t.state = nil
}
