// Package pollset waits for descriptors, for a deadline and for a wake-up at once: epoll on
// Linux, kqueue on the BSDs and macOS.
//
// Users' descriptors have a kernel poll object of their own, [Set.Fd]. It is readable exactly
// while one of them is ready, so that somebody else (the BEAM, through enif_select) can wait
// for it in the meantime; neither a wake-up of the owner nor a deadline of the owner makes it
// readable.
//
// The semantics are those of CPython's selectors: level-triggered, errors and hang-ups are
// reported as both readable and writable within what was asked for, and a descriptor that
// was closed without being removed is no error.
package pollset
