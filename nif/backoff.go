package main

import "time"

const (
	shortestBackoff = 10 * time.Millisecond
	longestBackoff  = time.Second
)

// backoff paces the attempts to start something that the system has no thread or descriptor for at the moment. It is
// guarded by its owner's lock.
type backoff struct {
	delay time.Duration // before the next attempt, 0 after one that went well
}

// note takes the outcome of an attempt. Of the failures in a row the first one is logged.
func (b *backoff) note(err error) {
	switch {
	case err == nil:
		b.delay = 0
	case b.delay == 0:
		b.delay = shortestBackoff
		logEvent(err.Error())
	default:
		b.delay = min(2*b.delay, longestBackoff)
	}
}
