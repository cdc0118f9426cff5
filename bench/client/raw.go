package main

import (
	"bytes"
	"fmt"
	"net"
	"syscall"
	"time"
)

// silence is how long the server may leave all connections without an answer.
const silence = 5 * time.Second

// flow is one connection of runRaw.
type flow struct {
	fd    int
	begin time.Time
	got   int
}

// runRaw does TCP and UDP with epoll and one thread, without Go's scheduler between the system calls: that serves
// more requests per second than any of the servers it measures.
func runRaw(network string, given options) (figures, error) {
	epoll, err := syscall.EpollCreate1(0)
	if err != nil {
		return figures{}, err
	}
	defer syscall.Close(epoll)
	flows := make(map[int32]*flow, given.connections)
	defer func() {
		for _, f := range flows {
			syscall.Close(f.fd)
		}
	}()
	for range given.connections {
		fd, err := dialRaw(network, given.address)
		if err != nil {
			return figures{}, err
		}
		flows[int32(fd)] = &flow{fd: fd}
		if err := watch(epoll, fd); err != nil {
			return figures{}, err
		}
	}
	message := bytes.Repeat([]byte("e"), given.size)
	taken := newSamples(given.duration)
	for _, f := range flows {
		if err := f.send(message); err != nil {
			return figures{}, err
		}
	}
	if err := drive(epoll, flows, message, taken); err != nil {
		return figures{}, err
	}
	return taken.figures()
}

func drive(epoll int, flows map[int32]*flow, message []byte, taken *samples) error {
	events := make([]syscall.EpollEvent, 1024)
	buffer := make([]byte, 1<<16)
	for {
		n, err := syscall.EpollWait(epoll, events, int(silence.Milliseconds()))
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("no answer on %d connections for %v", len(flows), silence)
		}
		for _, event := range events[:n] {
			f := flows[event.Fd]
			whole, err := f.receive(buffer, len(message))
			if err != nil {
				return err
			}
			if !whole {
				continue
			}
			now := time.Now()
			taken.add(f.begin, now)
			if taken.over(now) {
				return nil
			}
			if err := f.send(message); err != nil {
				return err
			}
		}
	}
}

func dialRaw(network, address string) (int, error) {
	target, err := net.ResolveUDPAddr("udp4", address)
	if err != nil {
		return -1, err
	}
	kind := syscall.SOCK_STREAM
	if network == "udp" {
		kind = syscall.SOCK_DGRAM
	}
	fd, err := syscall.Socket(syscall.AF_INET, kind|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	peer := &syscall.SockaddrInet4{Port: target.Port}
	copy(peer.Addr[:], target.IP.To4())
	if err := syscall.Connect(fd, peer); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	if network == "tcp" {
		_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}
	return fd, nil
}

// send begins a request. The sockets block, and a message fits into their buffers.
func (f *flow) send(message []byte) error {
	f.got = 0
	f.begin = time.Now()
	n, err := syscall.Write(f.fd, message)
	if err == nil && n < len(message) {
		err = fmt.Errorf("sent %d bytes of %d", n, len(message))
	}
	return err
}

// receive takes what has come; whole tells whether it completes the answer.
func (f *flow) receive(buffer []byte, size int) (whole bool, err error) {
	n, err := syscall.Read(f.fd, buffer)
	if err != nil {
		return false, err
	}
	if n == 0 {
		return false, fmt.Errorf("the server closed a connection")
	}
	f.got += n
	if f.got > size || buffer[0] != 'e' || buffer[n-1] != 'e' {
		return false, fmt.Errorf("%d bytes came back for %d", f.got, size)
	}
	return f.got == size, nil
}
