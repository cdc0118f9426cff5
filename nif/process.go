package main

/*
#include "atoms.h"
#include "resource.h"
#include <erl_nif.h>
#cgo noescape resource_handle
#cgo nocallback resource_handle
*/
import "C"

import (
	"sync"
	"syscall"
	"unsafe"

	"erlang_python/nif/internal/registry"
)

// watchedProcess is an operating system process that must not outlive its owner, an Erlang process. The owner's term
// holds the resource. The process is killed when the owner dies or the last term is gone, unless it was released before,
// because it has ended. Signals go to the process that was opened, never to a later one of the same number, where the
// system can tell them apart (process_linux.go).
type watchedProcess struct {
	mu      sync.Mutex
	process openProcess
	over    bool
}

var watchedProcesses = registry.New[watchedProcess]()

func (w *watchedProcess) signal(number syscall.Signal) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return syscall.ESRCH
	}
	return w.process.signal(number)
}

// release lets go of the process; it is killed if it still may be there.
func (w *watchedProcess) release(kill bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	w.over = true
	if kill {
		_ = w.process.signal(syscall.SIGKILL)
	}
	w.process.close()
}

// core_process_watch(OsPid, Owner) is {ok, Process}: a process of the system that is killed when Owner dies, or
// {error, Posix}.
//
//export core_process_watch
func core_process_watch(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	number, ok := getInteger(env, args[0])
	var owner C.ErlNifPid
	if !ok || number <= 0 || number > 0x7fffffff || C.enif_get_local_pid(env, args[1], &owner) == 0 {
		return C.enif_make_badarg(env)
	}
	process, err := openProcessOf(int(number))
	if err != nil {
		return posixError(env, err)
	}
	w := &watchedProcess{process: process}
	handle := watchedProcesses.Add(w)
	resource := C.resource_new(C.RESOURCE_PROCESS, C.uint64_t(handle))
	if resource == nil {
		watchedProcesses.Remove(handle)
		process.close()
		return posixError(env, syscall.ENOMEM)
	}
	term := C.enif_make_resource(env, unsafe.Pointer(resource))
	if C.enif_monitor_process(env, unsafe.Pointer(resource), &owner, nil) != 0 {
		w.release(true)
	}
	C.enif_release_resource(unsafe.Pointer(resource))
	return makeOk(env, term)
}

// core_process_signal(Process, Number) sends a signal: ok, or {error, esrch} when the process has ended, which 0 asks for.
//
//export core_process_signal
func core_process_signal(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	handle := C.resource_handle(env, args[0], C.RESOURCE_PROCESS)
	number, ok := getInteger(env, args[1])
	if handle == 0 || !ok || number < 0 || number > 64 {
		return C.enif_make_badarg(env)
	}
	w := watchedProcesses.Get(uint64(handle))
	if w == nil {
		return posixError(env, syscall.ESRCH)
	}
	return okOr(env, w.signal(syscall.Signal(number)))
}

// core_process_release(Process) is ok: the process has ended, and its number may be another one's.
//
//export core_process_release
func core_process_release(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	handle := C.resource_handle(env, arguments(argc, argv)[0], C.RESOURCE_PROCESS)
	if handle == 0 {
		return C.enif_make_badarg(env)
	}
	if w := watchedProcesses.Get(uint64(handle)); w != nil {
		w.release(false)
	}
	return C.atoms.ok
}
