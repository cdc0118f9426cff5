package main

/*
#include "atoms.h"
#include "crash_guard.h"
#include <erl_nif.h>
*/
import "C"

import (
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"golang.org/x/sys/unix"
)

// core_load is called by the shim's load function, once for each time that module py_nif is loaded. load_info is
// #{threads := N}, an upper bound of the number of BEAM and Python threads: with fewer processors in the Go scheduler
// than threads inside Go or in long C calls, a thread's entry into Go was measured to wait up to 6 ms.
//
//export core_load
func core_load(env *C.ErlNifEnv, loadInfo C.ERL_NIF_TERM) (status C.int) {
	defer func() {
		if recover() != nil {
			status = 1
		}
	}()
	C.atoms_load(env)
	C.crash_guard_enclose()
	threads := int64(64)
	if value, ok := mapValue(env, loadInfo, "threads"); ok {
		if n, ok := getInteger(env, value); ok && n > threads {
			threads = n
		}
	}
	if int64(runtime.GOMAXPROCS(0)) < threads {
		runtime.GOMAXPROCS(int(threads))
	}
	if !startTimers() {
		return 1
	}
	startProfile()
	return 0
}

// startTimers has Go's runtime open the descriptors that it needs with its first timer: without any left then, it would
// end the process. False when there are too few of them now.
func startTimers() bool {
	var spare [2]int
	if unix.Pipe(spare[:]) != nil {
		return false
	}
	for _, fd := range spare {
		_ = unix.Close(fd)
	}
	time.AfterFunc(0, func() {})
	return true
}

// startProfile writes a CPU profile of the Go code to the file that ERLANG_PYTHON_CPUPROFILE names, until
// runtime_stop; scripts/refresh-pgo.sh makes the profile of PERF_BUILD with it.
func startProfile() {
	path := os.Getenv("ERLANG_PYTHON_CPUPROFILE")
	if path == "" {
		return
	}
	if file, err := os.Create(path); err == nil {
		_ = pprof.StartCPUProfile(file)
	}
}
