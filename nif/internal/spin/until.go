package spin

import "erlang_python/nif/internal/pollset"

// checks between two looks at the clock, which costs as much as dozens of them.
const checks = 32

// A spin that lasts offers its processor again and again: on a busy machine the thread that it waits for may be the one
// that waits for the processor. What comes at once should not have to wait for that. In nanoseconds; yieldInterval, from
// one offer to the next, is in yield_*.go.
const yieldAfter = 3_000

// Until calls ready until it is true or the monotonic clock reaches end, and tells which.
func Until(end int64, ready func() bool) bool {
	now := pollset.Now()
	yield := now + yieldAfter
	for now < end {
		for range checks {
			if ready() {
				return true
			}
		}
		now = pollset.Now()
		if now >= yield {
			Yield()
			yield = now + yieldInterval
		}
	}
	return false
}
