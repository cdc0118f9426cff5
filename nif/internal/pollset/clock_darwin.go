package pollset

import "golang.org/x/sys/unix"

// monotonicClock is mach_absolute_time, which Go and Python both use; CLOCK_MONOTONIC goes on
// while the machine sleeps.
const monotonicClock = unix.CLOCK_UPTIME_RAW
