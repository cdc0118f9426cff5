// Package queue is the way work reaches a loop: a queue that any thread may push to
// without a lock and that one consumer empties a batch at a time.
//
// The list is intrusive. An element carries its own [Link], so a push allocates nothing,
// and the element may live outside the Go heap: C memory qualifies as long as it was
// zeroed before the first push, because the garbage collector's write barrier looks at
// the old value of the link.
package queue
