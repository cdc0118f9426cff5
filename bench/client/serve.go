package main

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// serve echoes until it is killed. Like runRaw it has one thread and epoll, so that what the client reaches with it is
// the client's own limit.
func serve(given options) error {
	listener, err := net.Listen("tcp", given.address)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	epoll, err := syscall.EpollCreate1(0)
	if err != nil {
		return err
	}
	accepting := int(file.Fd())
	if err := watch(epoll, accepting); err != nil {
		return err
	}
	events := make([]syscall.EpollEvent, 1024)
	buffer := make([]byte, 1<<16)
	for {
		n, err := syscall.EpollWait(epoll, events, -1)
		if err != nil && err != syscall.EINTR {
			return err
		}
		for _, event := range events[:max(n, 0)] {
			fd := int(event.Fd)
			if fd != accepting {
				echo(fd, buffer)
				continue
			}
			accepted, _, err := syscall.Accept4(fd, syscall.SOCK_CLOEXEC)
			if err != nil {
				return os.NewSyscallError("accept", err)
			}
			if err := watch(epoll, accepted); err != nil {
				return err
			}
		}
	}
}

func watch(epoll, fd int) error {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	return syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, fd, &event)
}

// echo answers one message; a connection that ended or broke is closed, with which epoll forgets it.
func echo(fd int, buffer []byte) {
	n, err := syscall.Read(fd, buffer)
	if err == nil && n > 0 {
		_, err = syscall.Write(fd, buffer[:n])
	}
	if err != nil || n == 0 {
		syscall.Close(fd)
	}
}
