package main

/*
#include "atoms.h"
#include "channel.h"
#include "resource.h"
#include <erl_nif.h>
#cgo noescape resource_handle
#cgo nocallback resource_handle
*/
import "C"

import "unsafe"

// channelArgument is the channel in a term; false when it is none.
func channelArgument(env *C.ErlNifEnv, term C.ERL_NIF_TERM) (*channel, bool) {
	handle := C.resource_handle(env, term, C.RESOURCE_CHANNEL)
	if handle == 0 {
		return nil, false
	}
	c := channels.Get(uint64(handle))
	return c, c != nil
}

// core_channel_new(MaxSize, Owner) makes a channel for at most so many bytes (0: any number), which is closed when the
// process Owner dies (none: never): {ok, Channel} or {error, closed | enomem}.
//
//export core_channel_new
func core_channel_new(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	limit, ok := getInteger(env, args[0])
	var owner C.ErlNifPid
	owned := args[1] != C.atoms.none
	if !ok || limit < 0 || owned && C.enif_get_local_pid(env, args[1], &owner) == 0 {
		return C.enif_make_badarg(env)
	}
	if python.session.Load() == nil {
		return makeError(env, C.atoms.closed)
	}
	c := &channel{limit: limit}
	handle := channels.Add(c)
	resource := C.resource_new(C.RESOURCE_CHANNEL, C.uint64_t(handle))
	if resource == nil {
		channels.Remove(handle)
		return makeError(env, C.atoms.enomem)
	}
	term := C.enif_make_resource(env, unsafe.Pointer(resource))
	if owned && C.enif_monitor_process(env, unsafe.Pointer(resource), &owner, nil) != 0 {
		c.close(env)
	}
	C.enif_release_resource(unsafe.Pointer(resource))
	// The session may have ended meanwhile, and with it all channels that it knew.
	if python.session.Load() == nil {
		c.close(env)
	}
	return makeOk(env, term)
}

// core_channel_send(Channel, Term, Size): ok, busy or {error, closed | enomem}.
//
//export core_channel_send
func core_channel_send(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	c, ok := channelArgument(env, args[0])
	size, good := getInteger(env, args[2])
	if !ok || !good || size < 0 {
		return C.enif_make_badarg(env)
	}
	// A copy for nothing may be large.
	switch c.refusal(size) {
	case C.CHANNEL_BUSY:
		return C.atoms.busy
	case C.CHANNEL_CLOSED:
		return makeError(env, C.atoms.closed)
	}
	message := C.channel_copy(args[1])
	if message.env == nil {
		return makeError(env, C.atoms.enomem)
	}
	switch c.push(message, size) {
	case C.CHANNEL_OK:
		return C.atoms.ok
	case C.CHANNEL_BUSY:
		C.enif_free_env(message.env)
		return C.atoms.busy
	default:
		C.enif_free_env(message.env)
		return makeError(env, C.atoms.closed)
	}
}

// core_channel_expect_room(Channel, Reference, Size): true when {channel_room, Reference} will come as soon as there is
// room for a message of that size or the channel is closed, false when there is now or it is.
//
//export core_channel_expect_room
func core_channel_expect_room(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	c, ok := channelArgument(env, args[0])
	size, good := getInteger(env, args[2])
	if !ok || !good || size < 0 || C.enif_is_ref(env, args[1]) == 0 {
		return C.enif_make_badarg(env)
	}
	reference := C.channel_copy(args[1])
	if reference.env == nil {
		return makeError(env, C.atoms.enomem)
	}
	s := sender{size: size, env: reference.env, reference: reference.term}
	C.enif_self(env, &s.process)
	expected := c.expect(s)
	if !expected {
		C.enif_free_env(reference.env)
	}
	return makeBool(env, expected)
}

// core_channel_forget_room(Channel, Reference) takes that back; {channel_room, Reference} may have been sent.
//
//export core_channel_forget_room
func core_channel_forget_room(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	c, ok := channelArgument(env, args[0])
	if !ok || C.enif_is_ref(env, args[1]) == 0 {
		return C.enif_make_badarg(env)
	}
	c.forget(env, args[1])
	return C.atoms.ok
}

// core_channel_close(Channel): ok, also when it is closed.
//
//export core_channel_close
func core_channel_close(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	c, ok := channelArgument(env, arguments(argc, argv)[0])
	if !ok {
		return C.enif_make_badarg(env)
	}
	c.close(env)
	return C.atoms.ok
}

// core_channel_info(Channel) is what the channel holds.
//
//export core_channel_info
func core_channel_info(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	c, ok := channelArgument(env, arguments(argc, argv)[0])
	if !ok {
		return C.enif_make_badarg(env)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return makeMap(env, map[string]C.ERL_NIF_TERM{
		"size":      makeInteger(env, c.bytes),
		"max_size":  makeInteger(env, c.limit),
		"messages":  makeInteger(env, int64(c.length())),
		"receivers": makeInteger(env, int64(len(c.waiting))),
		"closed":    makeBool(env, c.closed),
	})
}
