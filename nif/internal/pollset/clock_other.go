//go:build linux || freebsd || netbsd || openbsd || dragonfly

package pollset

import "golang.org/x/sys/unix"

const monotonicClock = unix.CLOCK_MONOTONIC
