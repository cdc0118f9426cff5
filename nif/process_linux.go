package main

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// openProcess is a process by a descriptor of it, pidfd_open(2), or by its number alone on kernels before 5.3 and where
// a sandbox forbids the call.
type openProcess struct {
	number     int
	descriptor int // -1: there is none
}

func openProcessOf(number int) (openProcess, error) {
	descriptor, err := unix.PidfdOpen(number, 0)
	if errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EPERM) {
		return openProcess{number, -1}, syscall.Kill(number, 0)
	}
	return openProcess{number, descriptor}, err
}

func (p openProcess) signal(number syscall.Signal) error {
	if p.descriptor < 0 {
		return syscall.Kill(p.number, number)
	}
	return unix.PidfdSendSignal(p.descriptor, unix.Signal(number), nil, 0)
}

func (p openProcess) close() {
	if p.descriptor >= 0 {
		_ = syscall.Close(p.descriptor)
	}
}
