//go:build !linux

package main

import "syscall"

// openProcess is a process by its number. Between its end and its release a signal could reach another one that has got
// the number since.
type openProcess struct{ number int }

func openProcessOf(number int) (openProcess, error) {
	return openProcess{number}, syscall.Kill(number, 0)
}

func (p openProcess) signal(number syscall.Signal) error { return syscall.Kill(p.number, number) }

func (p openProcess) close() {}
