package pollset

import (
	"time"

	"golang.org/x/sys/unix"
)

// The offset between Go's monotonic clock, which time.Since reads without a system call, and
// the one of Python's time.monotonic(). They are the same clock on every supported system;
// only Go does not tell its absolute value.
var clockStart, clockStartNs = calibrate()

func calibrate() (time.Time, int64) {
	var bestTime time.Time
	var bestNs int64
	best := time.Duration(1 << 62)
	for range 16 {
		before := time.Now()
		// Read between the two: at most as late as Go's reading that it is paired with, so
		// Now is never ahead of Python's clock and a deadline is not reached too early.
		ns := systemMonotonic()
		after := time.Now()
		if gap := after.Sub(before); gap < best {
			best, bestTime, bestNs = gap, after, ns
		}
	}
	return bestTime, bestNs
}

func systemMonotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(monotonicClock, &ts); err != nil {
		panic("pollset: no monotonic clock: " + err.Error())
	}
	return ts.Nano()
}

// Now is the monotonic clock in nanoseconds, the one of Python's time.monotonic() (behind it
// by the microsecond or less that reading it once took).
func Now() int64 { return clockStartNs + int64(time.Since(clockStart)) }

// Forever is the deadline that never comes.
const Forever = int64(1<<63 - 1)

// Deadline is the time on the clock of [Now] in timeoutNs nanoseconds; a negative timeout and
// one beyond the clock's range give [Forever].
func Deadline(timeoutNs int64) int64 {
	if timeoutNs < 0 {
		return Forever
	}
	now := Now()
	if timeoutNs > Forever-now {
		return Forever
	}
	return now + timeoutNs
}

// Until is the timeout for Wait that ends at deadline: -1 for [Forever], 0 when it is over.
func Until(deadline int64) int64 {
	if deadline == Forever {
		return -1
	}
	// Compared before subtracting: a deadline at the other end of the range would overflow.
	if now := Now(); deadline > now {
		return deadline - now
	}
	return 0
}

// FromSeconds turns Python's floating-point seconds into nanoseconds, rounded up so that a
// timer does not fire early. Negative values and NaN give 0; what does not fit gives Forever.
func FromSeconds(seconds float64) int64 {
	ns := seconds * 1e9
	switch {
	case !(ns > 0):
		return 0
	case ns >= float64(Forever):
		return Forever
	}
	whole := int64(ns)
	if float64(whole) < ns {
		whole++
	}
	return whole
}
