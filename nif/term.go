package main

/*
#include "atoms.h"
#include <erl_nif.h>
#include <string.h>
*/
import "C"

import "unsafe"

// arguments is the argument vector of a NIF.
func arguments(argc C.int, argv *C.ERL_NIF_TERM) []C.ERL_NIF_TERM {
	return unsafe.Slice(argv, int(argc))
}

func makeAtom(env *C.ErlNifEnv, name string) C.ERL_NIF_TERM {
	return C.enif_make_atom_len(env, (*C.char)(unsafe.Pointer(unsafe.StringData(name))), C.size_t(len(name)))
}

func makeBinary(env *C.ErlNifEnv, text string) C.ERL_NIF_TERM {
	var term C.ERL_NIF_TERM
	data := C.enif_make_new_binary(env, C.size_t(len(text)), &term)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(data)), len(text)), text)
	return term
}

func makeTuple2(env *C.ErlNifEnv, first, second C.ERL_NIF_TERM) C.ERL_NIF_TERM {
	elements := [2]C.ERL_NIF_TERM{first, second}
	return C.enif_make_tuple_from_array(env, &elements[0], 2)
}

func makeOk(env *C.ErlNifEnv, value C.ERL_NIF_TERM) C.ERL_NIF_TERM {
	return makeTuple2(env, C.atoms.ok, value)
}

func makeError(env *C.ErlNifEnv, reason C.ERL_NIF_TERM) C.ERL_NIF_TERM {
	return makeTuple2(env, C.atoms.error, reason)
}

func makeBool(env *C.ErlNifEnv, value bool) C.ERL_NIF_TERM {
	if value {
		return makeAtom(env, "true")
	}
	return makeAtom(env, "false")
}

// makeMap builds a map with atom keys.
func makeMap(env *C.ErlNifEnv, entries map[string]C.ERL_NIF_TERM) C.ERL_NIF_TERM {
	term := C.enif_make_new_map(env)
	for key, value := range entries {
		C.enif_make_map_put(env, term, makeAtom(env, key), value, &term)
	}
	return term
}

func makeInteger(env *C.ErlNifEnv, value int64) C.ERL_NIF_TERM {
	return C.enif_make_int64(env, C.ErlNifSInt64(value))
}

// mapValue is the value of an atom key in a map.
func mapValue(env *C.ErlNifEnv, term C.ERL_NIF_TERM, key string) (C.ERL_NIF_TERM, bool) {
	var value C.ERL_NIF_TERM
	found := C.enif_get_map_value(env, term, makeAtom(env, key), &value) != 0
	return value, found
}

// getString is the text of a binary.
func getString(env *C.ErlNifEnv, term C.ERL_NIF_TERM) (string, bool) {
	var binary C.ErlNifBinary
	if C.enif_inspect_binary(env, term, &binary) == 0 {
		return "", false
	}
	return string(unsafe.Slice((*byte)(unsafe.Pointer(binary.data)), int(binary.size))), true
}

func getInteger(env *C.ErlNifEnv, term C.ERL_NIF_TERM) (int64, bool) {
	var value C.ErlNifSInt64
	ok := C.enif_get_int64(env, term, &value) != 0
	return int64(value), ok
}

// getStrings is the texts of a list of binaries.
func getStrings(env *C.ErlNifEnv, list C.ERL_NIF_TERM) ([]string, bool) {
	var texts []string
	var head C.ERL_NIF_TERM
	for C.enif_get_list_cell(env, list, &head, &list) != 0 {
		text, ok := getString(env, head)
		if !ok {
			return nil, false
		}
		texts = append(texts, text)
	}
	return texts, C.enif_is_empty_list(env, list) != 0
}
