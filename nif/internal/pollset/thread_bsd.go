//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package pollset

// PreciseTimers does nothing here: these systems have no such setting for a thread.
func PreciseTimers() error { return nil }
