package main

/*
#include "atoms.h"
#include "memory.h"
#include "task_pool.h"
#include <erl_nif.h>
*/
import "C"

import "runtime/metrics"

// setMemoryLimit bounds Python's memory; 0 means no bound.
func setMemoryLimit(bytes int64) {
	if bytes == 0 {
		C.memory_set_limit(^C.size_t(0))
	} else {
		C.memory_set_limit(C.size_t(bytes))
	}
}

// core_memory_info() is a map of bytes and counts; py:memory/0 documents it.
//
//export core_memory_info
func core_memory_info(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	core := int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
	number := func(n int64) C.ERL_NIF_TERM { return makeInteger(env, n) }
	entries := map[string]C.ERL_NIF_TERM{
		"core":   number(core),
		"tasks":  number(int64(C.task_pool_size())),
		"loops":  number(int64(loops.Len())),
		"python": C.atoms.undefined,
		"most":   C.atoms.undefined,
	}
	var bytes, highest C.uint64_t
	if C.memory_counted(&bytes, &highest) {
		entries["python"] = number(int64(bytes))
		entries["most"] = number(int64(highest))
	}
	return makeMap(env, entries)
}
