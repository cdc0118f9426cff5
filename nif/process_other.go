//go:build !linux

package main

import "syscall"

// openProcess is a process by its number: it must be released before the VM has seen it end.
type openProcess struct{ number int }

func openProcessOf(number int) (openProcess, error) {
	return openProcess{number}, syscall.Kill(number, 0)
}

func (p openProcess) signal(number syscall.Signal) error { return syscall.Kill(p.number, number) }

func (p openProcess) close() {}
