package main

/*
#include "atoms.h"
#include "callback.h"
#include "channel.h"
#include "resource.h"
#include <erl_nif.h>
#cgo noescape channel_copy
#cgo nocallback channel_copy
*/
import "C"

import (
	"slices"
	"sync"
	"unsafe"

	"erlang_python/nif/internal/registry"
)

// channel is a queue of messages for Python. Its resource is what Erlang and Python's erlang.Ref hold; when the last of
// them is gone it is emptied (dispose), also under the hands of whoever found it in the registry before. It refuses
// messages from close on; what was sent before is received all the same.
//
// A receiver that finds nothing waits in a call (pendingCall) that carries no message: being woken means to look again,
// so that a receiver which is cancelled or dies loses none. For each message one receiver is woken, the one that waits
// longest; one that was woken and does not look wakes the next, and so does one that takes a message and leaves others:
// those may be there because a receiver died with its wake-up.
type channel struct {
	mu       sync.Mutex
	messages []queued
	first    int // of messages; those before were taken
	bytes    int64
	limit    int64    // of bytes, 0: none
	waiting  []uint64 // calls of receivers, the longest waiting first
	senders  []sender // processes that found the channel full, the longest waiting first
	closed   bool
}

type queued struct {
	message C.channel_message
	size    int64
}

// sender is told once, by {channel_room, Reference}, that there may be room for its message. The environment holds the
// reference.
type sender struct {
	process   C.ErlNifPid
	size      int64
	env       *C.ErlNifEnv
	reference C.ERL_NIF_TERM
}

var channels = registry.New[channel]()

// compactAt is how many taken messages are kept in front of the others before these are moved.
const compactAt = 1024

func (c *channel) length() int { return len(c.messages) - c.first }

// fits tells whether there is room for a message. One that is larger than the limit fits while nothing else is queued.
func (c *channel) fits(size int64) bool {
	return c.limit == 0 || c.bytes+size <= c.limit || c.length() == 0
}

// refusal is what push would answer now.
func (c *channel) refusal(size int64) C.int {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return C.CHANNEL_CLOSED
	case !c.fits(size):
		return C.CHANNEL_BUSY
	default:
		return C.CHANNEL_OK
	}
}

// push queues a message, which is the channel's if it answers CHANNEL_OK.
func (c *channel) push(message C.channel_message, size int64) C.int {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return C.CHANNEL_CLOSED
	}
	if !c.fits(size) {
		c.mu.Unlock()
		return C.CHANNEL_BUSY
	}
	c.messages = append(c.messages, queued{message, size})
	c.bytes += size
	c.mu.Unlock()
	c.wakeNext()
	return C.CHANNEL_OK
}

// take takes the first message.
func (c *channel) take(message *C.channel_message) C.int {
	c.mu.Lock()
	if c.length() == 0 {
		closed := c.closed
		c.mu.Unlock()
		if closed {
			return C.CHANNEL_CLOSED
		}
		return C.CHANNEL_EMPTY
	}
	q := &c.messages[c.first]
	*message = q.message
	c.bytes -= q.size
	*q = queued{}
	c.first++
	switch {
	case c.first == len(c.messages):
		c.messages, c.first = c.messages[:0], 0
		if cap(c.messages) > compactAt {
			c.messages = nil
		}
	case c.first >= compactAt && c.first >= len(c.messages)/2:
		c.messages = append([]queued(nil), c.messages[c.first:]...)
		c.first = 0
	}
	senders := c.sendersWithRoom()
	others := c.length() > 0 && len(c.waiting) > 0
	c.mu.Unlock()
	tellSenders(nil, senders)
	if others {
		c.wakeNext()
	}
	return C.CHANNEL_OK
}

// sendersWithRoom takes those off the list for whose messages there is room, all of them once the channel is empty, so
// that one which died when it was told keeps nobody waiting.
func (c *channel) sendersWithRoom() []sender {
	room := c.limit - c.bytes
	n := 0
	for n < len(c.senders) && (c.senders[n].size <= room || c.length() == 0) {
		room -= c.senders[n].size
		n++
	}
	told := c.senders[:n:n]
	c.senders = c.senders[n:]
	return told
}

// wakeNext wakes a receiver if there is something for it.
func (c *channel) wakeNext() {
	for {
		c.mu.Lock()
		if c.length() == 0 || len(c.waiting) == 0 {
			c.mu.Unlock()
			return
		}
		call := c.waiting[0]
		c.waiting = c.waiting[1:]
		c.mu.Unlock()
		if wakeCall(call) {
			return
		}
	}
}

// enlist has a call wait for a message; false when it shall look at once.
func (c *channel) enlist(call uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.length() > 0 || c.closed {
		return false
	}
	c.waiting = append(c.waiting, call)
	return true
}

// leave takes a call back that waits no more. One that was woken has a message to look for, which passOn leaves to
// another.
func (c *channel) leave(call uint64, passOn bool) {
	c.mu.Lock()
	if i := slices.Index(c.waiting, call); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
		passOn = false
	}
	c.mu.Unlock()
	if passOn {
		c.wakeNext()
	}
}

// close refuses messages from now on and wakes everybody; env is a NIF's, or nil on threads that are not the BEAM's.
func (c *channel) close(env *C.ErlNifEnv) {
	c.mu.Lock()
	c.closed = true
	waiting, senders := c.waiting, c.senders
	c.waiting, c.senders = nil, nil
	c.mu.Unlock()
	for _, call := range waiting {
		wakeCall(call)
	}
	tellSenders(env, senders)
}

// closeLater is for monitors, which must not send messages.
func (c *channel) closeLater() {
	go func() {
		defer guardCallback("the end of a channel's owner")
		c.close(nil)
	}()
}

// expect has a process told when there may be room; false when there is some now.
func (c *channel) expect(s sender) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.fits(s.size) {
		return false
	}
	c.senders = append(c.senders, s)
	return true
}

// forget takes back what expect did, unless the process was told. Those behind it may have room that it had not.
func (c *channel) forget(env *C.ErlNifEnv, reference C.ERL_NIF_TERM) {
	c.mu.Lock()
	for i, s := range c.senders {
		if C.enif_is_identical(s.reference, reference) != 0 {
			C.enif_free_env(s.env)
			c.senders = append(c.senders[:i:i], c.senders[i+1:]...)
			break
		}
	}
	senders := c.sendersWithRoom()
	c.mu.Unlock()
	tellSenders(env, senders)
}

func tellSenders(env *C.ErlNifEnv, senders []sender) {
	for _, s := range senders {
		C.enif_send(env, &s.process, s.env, makeTuple2(s.env, makeAtom(s.env, "channel_room"), s.reference))
		C.enif_free_env(s.env)
	}
}

// disposeAtOnce is how many messages a destructor, which runs on a scheduler, frees itself.
const disposeAtOnce = 100

// dispose empties a channel to which no term refers any more, and closes it: others may have found it in the registry
// before.
func (c *channel) dispose() {
	c.mu.Lock()
	c.closed = true
	messages, senders, waiting := c.messages[c.first:], c.senders, c.waiting
	c.messages, c.first, c.senders, c.waiting = nil, 0, nil, nil
	c.bytes = 0
	c.mu.Unlock()
	for _, call := range waiting {
		wakeCall(call)
	}
	free := func() {
		for _, q := range messages {
			C.enif_free_env(q.message.env)
		}
		for _, s := range senders {
			C.enif_free_env(s.env)
		}
	}
	if len(messages)+len(senders) <= disposeAtOnce {
		free()
		return
	}
	go func() {
		defer guardCallback("a channel's destructor")
		free()
	}()
}

// wakeCall answers the call of a receiver with nothing but that; false when it does not wait any more.
func wakeCall(id uint64) bool {
	p := calls.Get(id)
	if p == nil {
		return false
	}
	if p.waiter != nil {
		return p.answer(id, C.ANSWER_OK, C.atoms.none)
	}
	if calls.Remove(id) == nil {
		return false
	}
	if p.loop != 0 {
		if l := loops.Get(p.loop); l == nil || l.destroyed.Load() {
			dropLater(p.future)
			return false
		}
	}
	p.resolve(C.ANSWER_OK, C.atoms.none)
	return true
}

// wakeOthers is called when receivers may have died after they were woken.
func wakeOthers() {
	channels.Range(func(_ uint64, c *channel) bool {
		c.wakeNext()
		return true
	})
}

//export core_wake_others
func core_wake_others() {
	defer guardCallback("wake_others")
	wakeOthers()
}

// endChannels closes all channels at the end of a session.
func endChannels() {
	channels.Range(func(_ uint64, c *channel) bool {
		c.close(nil)
		return true
	})
}

// core_channel_take takes the first message.
//
//export core_channel_take
func core_channel_take(handle C.uint64_t, message *C.channel_message) (status C.int) {
	defer guardChannel(&status, C.CHANNEL_CLOSED)
	c := channels.Get(uint64(handle))
	if c == nil {
		return C.CHANNEL_CLOSED
	}
	return c.take(message)
}

// core_channel_push queues a message of Python, which stays the caller's unless it answers CHANNEL_OK.
//
//export core_channel_push
func core_channel_push(handle C.uint64_t, message *C.channel_message, size C.int64_t) (status C.int) {
	defer guardChannel(&status, C.CHANNEL_OK)
	c := channels.Get(uint64(handle))
	if c == nil {
		return C.CHANNEL_CLOSED
	}
	return c.push(*message, int64(size))
}

// guardChannel answers a panic as if the message were taken over, or none were there: it must not be freed twice.
func guardChannel(status *C.int, otherwise C.int) {
	if reason := recover(); reason != nil {
		*status = otherwise
		logPanic("a channel", reason)
	}
}

// core_channel_wait begins a call on the thread of a waiter in which it waits for a message; its id, CHANNEL_LOOK or
// CHANNEL_ENDED.
//
//export core_channel_wait
func core_channel_wait(handle, waiter, origin C.uint64_t) C.uint64_t {
	defer guardCallback("channel_wait")
	c, w := channels.Get(uint64(handle)), waiters.Get(uint64(waiter))
	if c == nil || w == nil {
		return C.CHANNEL_ENDED
	}
	id := w.begin(uint64(origin), ofNoServer)
	if id == 0 {
		return C.CHANNEL_ENDED
	}
	if !c.enlist(id) {
		w.end()
		return C.CHANNEL_LOOK
	}
	return C.uint64_t(id)
}

// core_channel_wait_async does so for a future, whose reference it takes unless it answers CHANNEL_LOOK or CHANNEL_ENDED.
//
//export core_channel_wait_async
func core_channel_wait_async(handle, loop C.uint64_t, future unsafe.Pointer) C.uint64_t {
	defer guardCallback("channel_wait_async")
	c := channels.Get(uint64(handle))
	if c == nil {
		return C.CHANNEL_ENDED
	}
	p := &pendingCall{future: future, loop: uint64(loop)}
	id := p.register(ofNoServer)
	if !c.enlist(id) {
		calls.Remove(id)
		return C.CHANNEL_LOOK
	}
	return C.uint64_t(id)
}

//export core_channel_wait_end
func core_channel_wait_end(handle, call C.uint64_t, passOn C.bool) {
	defer guardCallback("channel_wait_end")
	if c := channels.Get(uint64(handle)); c != nil {
		c.leave(uint64(call), bool(passOn))
	}
}

//export core_channel_shut
func core_channel_shut(handle C.uint64_t) {
	defer guardCallback("channel_shut")
	if c := channels.Get(uint64(handle)); c != nil {
		c.close(nil)
	}
}

// core_channel_state answers whether it is closed.
//
//export core_channel_state
func core_channel_state(handle C.uint64_t, messages, bytes *C.int64_t) C.int {
	defer guardCallback("channel_state")
	*messages, *bytes = 0, 0
	c := channels.Get(uint64(handle))
	if c == nil {
		return 1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	*messages, *bytes = C.int64_t(c.length()), C.int64_t(c.bytes)
	if c.closed {
		return 1
	}
	return 0
}
