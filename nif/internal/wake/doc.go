// Package wake is the one way in which a thread of the core sleeps and is woken. A [Waker]
// belongs to one sleeping thread, its owner; any thread may call Wake.
//
// # Protocol
//
// A producer makes its work visible, then calls Wake:
//
//	queue.Push(x)
//	w.Wake()
//
// The owner announces that it is going to sleep, looks at its work once more, sleeps,
// and clears the announcement before it looks again:
//
//	for {
//		run(queue.Take(…))
//		w.Prepare()
//		if queue.Empty() {
//			w.Sleep(timeout) // or a wait in a poll set that holds w
//		}
//		w.Clear()
//	}
//
// # Why no wake-up is lost
//
// The owner writes the state (Prepare) and then reads the queue; the producer writes the
// queue and then reads the state (Wake). Both are sync/atomic operations, which Go orders
// sequentially consistently, so at least one of the two reads sees the other's write:
// either the owner finds the element and does not sleep, or the producer finds the owner
// asleep and writes to the descriptor. That write is remembered by the kernel, so it does
// not matter whether the owner already waits or is only about to.
//
// Only the producer that takes the state from sleeping to signalled writes: a thousand
// pushes to a sleeping owner cost one system call, and a push to an owner that is awake
// costs one load.
//
// The owner sets the state back to awake (Clear) before it takes from the queue, never
// after: a producer that finds "signalled" relies on a look at the queue still to come.
//
// The descriptor is drained at the latest in Clear, before the next Prepare, so it never
// swallows a wake-up meant for a later sleep. The reverse may happen: a producer that was
// preempted between its CAS and its write ends the owner's next sleep at once. Sleeps may
// therefore end without reason, and callers look at their work, not at why they woke.
package wake
