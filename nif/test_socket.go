package main

/*
#include "atoms.h"
#include <erl_nif.h>
*/
import "C"

import (
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Descriptors for the tests of the low-level calls: non-blocking, closed on exec, on the loopback interface.
//
// Only a descriptor that was made here is accepted: any other number means something to somebody else in the VM.

// testFds knows the descriptors that are open. A lock for reading is held while one is used, so that it is not closed,
// and its number given to a stranger, in between.
var testFds = struct {
	sync.RWMutex
	open map[int]struct{}
}{open: make(map[int]struct{})}

// keepTestFds notes new descriptors.
func keepTestFds(fds ...int) {
	testFds.Lock()
	defer testFds.Unlock()
	for _, fd := range fds {
		testFds.open[fd] = struct{}{}
	}
}

// onTestFd answers what f does to the test descriptor in a term.
func onTestFd(env *C.ErlNifEnv, term C.ERL_NIF_TERM, f func(fd int) C.ERL_NIF_TERM) C.ERL_NIF_TERM {
	number, ok := getInteger(env, term)
	if !ok {
		return C.enif_make_badarg(env)
	}
	testFds.RLock()
	defer testFds.RUnlock()
	if _, known := testFds.open[int(number)]; !known {
		return posixError(env, syscall.EBADF)
	}
	return f(int(number))
}

// testPort is the port in a term.
func testPort(env *C.ErlNifEnv, term C.ERL_NIF_TERM) (int, bool) {
	port, ok := getInteger(env, term)
	return int(port), ok && port >= 0 && port <= 65535
}

// prepared makes a new descriptor non-blocking and closed on exec; not every system can do so as it makes it.
func prepared(fd int, err error) (int, error) {
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	return fd, unix.SetNonblock(fd, true)
}

// boundTestSocket is {ok, {Fd, Port}} of a new socket that is bound to 127.0.0.1 and then finished.
func boundTestSocket(env *C.ErlNifEnv, kind, port int, finish func(fd int) error) C.ERL_NIF_TERM {
	fd, err := prepared(unix.Socket(unix.AF_INET, kind, 0))
	if err != nil {
		return posixError(env, err)
	}
	bound, err := bindTestSocket(fd, port)
	if err == nil {
		err = finish(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		return posixError(env, err)
	}
	keepTestFds(fd)
	return makeOk(env, makeTuple2(env, makeInteger(env, int64(fd)), makeInteger(env, int64(bound))))
}

func bindTestSocket(fd, port int) (bound int, err error) {
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return name.(*unix.SockaddrInet4).Port, nil
}

// core_create_test_udp_socket(Port) is {ok, {Fd, Port}}; port 0 asks for a free one.
//
//export core_create_test_udp_socket
func core_create_test_udp_socket(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	port, ok := testPort(env, arguments(argc, argv)[0])
	if !ok {
		return C.enif_make_badarg(env)
	}
	return boundTestSocket(env, unix.SOCK_DGRAM, port, func(int) error { return nil })
}

// core_create_test_tcp_listener(Port) is {ok, {Fd, Port}}.
//
//export core_create_test_tcp_listener
func core_create_test_tcp_listener(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	port, ok := testPort(env, arguments(argc, argv)[0])
	if !ok {
		return C.enif_make_badarg(env)
	}
	return boundTestSocket(env, unix.SOCK_STREAM, port, func(fd int) error { return unix.Listen(fd, 128) })
}

// core_connect_test_tcp(Port) is {ok, Fd}, connected or connecting to 127.0.0.1.
//
//export core_connect_test_tcp
func core_connect_test_tcp(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	port, ok := testPort(env, arguments(argc, argv)[0])
	if !ok {
		return C.enif_make_badarg(env)
	}
	fd, err := prepared(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
	if err != nil {
		return posixError(env, err)
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err != nil && err != unix.EINPROGRESS {
		_ = unix.Close(fd)
		return posixError(env, err)
	}
	keepTestFds(fd)
	return makeOk(env, makeInteger(env, int64(fd)))
}

// core_accept_test_tcp(Fd) is {ok, Fd} of a connection that waits.
//
//export core_accept_test_tcp
func core_accept_test_tcp(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	accepted := -1
	result = onTestFd(env, arguments(argc, argv)[0], func(fd int) C.ERL_NIF_TERM {
		connection, _, err := unix.Accept(fd)
		if connection, err = prepared(connection, err); err != nil {
			return posixError(env, err)
		}
		accepted = connection
		return makeOk(env, makeInteger(env, int64(connection)))
	})
	if accepted >= 0 {
		keepTestFds(accepted)
	}
	return result
}

// core_create_test_pipe() is {ok, {ReadFd, WriteFd}}.
//
//export core_create_test_pipe
func core_create_test_pipe(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		return posixError(env, err)
	}
	for _, fd := range fds {
		if _, err := prepared(fd, nil); err != nil {
			return posixError(env, err)
		}
	}
	keepTestFds(fds[:]...)
	return makeOk(env, makeTuple2(env, makeInteger(env, int64(fds[0])), makeInteger(env, int64(fds[1]))))
}

// core_close_test_fd(Fd) is ok.
//
//export core_close_test_fd
func core_close_test_fd(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	number, ok := getInteger(env, arguments(argc, argv)[0])
	if !ok {
		return C.enif_make_badarg(env)
	}
	testFds.Lock()
	defer testFds.Unlock()
	fd := int(number)
	if _, known := testFds.open[fd]; !known {
		return posixError(env, syscall.EBADF)
	}
	delete(testFds.open, fd)
	return okOr(env, unix.Close(fd))
}

// binaryArgument is the bytes of a binary, valid during the call.
func binaryArgument(env *C.ErlNifEnv, term C.ERL_NIF_TERM) ([]byte, bool) {
	var binary C.ErlNifBinary
	if C.enif_inspect_binary(env, term, &binary) == 0 {
		return nil, false
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(binary.data)), int(binary.size)), true
}

// core_sendto_test_udp(Fd, Data, Host, Port) is ok; Host is a binary with an IPv4 address.
//
//export core_sendto_test_udp
func core_sendto_test_udp(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	data, isData := binaryArgument(env, args[1])
	host, isText := getString(env, args[2])
	port, isPort := testPort(env, args[3])
	address, err := netip.ParseAddr(host)
	if !isData || !isText || !isPort || err != nil || !address.Is4() {
		return C.enif_make_badarg(env)
	}
	return onTestFd(env, args[0], func(fd int) C.ERL_NIF_TERM {
		return okOr(env, unix.Sendto(fd, data, 0, &unix.SockaddrInet4{Port: port, Addr: address.As4()}))
	})
}

// largestRead bounds what one read takes, in bytes; no datagram is longer.
const largestRead = 65536

// readSize is the number of bytes to read at most in a term.
func readSize(env *C.ErlNifEnv, term C.ERL_NIF_TERM) (int64, bool) {
	size, ok := getInteger(env, term)
	return min(size, largestRead), ok && size > 0
}

// core_recvfrom_test_udp(Fd, MaxBytes) is {ok, {Data, {Host, Port}}}; {error, eagain} when nothing is there. What
// does not fit into MaxBytes is lost, as with recvfrom(2).
//
//export core_recvfrom_test_udp
func core_recvfrom_test_udp(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	size, ok := readSize(env, args[1])
	if !ok {
		return C.enif_make_badarg(env)
	}
	return onTestFd(env, args[0], func(fd int) C.ERL_NIF_TERM {
		buffer := make([]byte, size)
		n, from, err := unix.Recvfrom(fd, buffer, 0)
		if err != nil {
			return posixError(env, err)
		}
		sender, ok := from.(*unix.SockaddrInet4)
		if !ok {
			return posixError(env, syscall.EAFNOSUPPORT)
		}
		host := netip.AddrFrom4(sender.Addr).String()
		address := makeTuple2(env, makeBinary(env, host), makeInteger(env, int64(sender.Port)))
		return makeOk(env, makeTuple2(env, makeBinary(env, string(buffer[:n])), address))
	})
}

// core_set_udp_broadcast(Fd, Enable) is ok.
//
//export core_set_udp_broadcast
func core_set_udp_broadcast(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	value := 0
	if C.enif_is_identical(args[1], makeAtom(env, "true")) != 0 {
		value = 1
	} else if C.enif_is_identical(args[1], makeAtom(env, "false")) == 0 {
		return C.enif_make_badarg(env)
	}
	return onTestFd(env, args[0], func(fd int) C.ERL_NIF_TERM {
		return okOr(env, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, value))
	})
}

// core_read_test_fd(Fd, MaxBytes) is {ok, Data}, empty at the end of the stream; {error, eagain} when nothing is there.
//
//export core_read_test_fd
func core_read_test_fd(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	size, ok := readSize(env, args[1])
	if !ok {
		return C.enif_make_badarg(env)
	}
	return onTestFd(env, args[0], func(fd int) C.ERL_NIF_TERM {
		buffer := make([]byte, size)
		n, err := unix.Read(fd, buffer)
		if err != nil {
			return posixError(env, err)
		}
		return makeOk(env, makeBinary(env, string(buffer[:n])))
	})
}

// core_write_test_fd(Fd, Data) is {ok, N}, the number of bytes that were taken.
//
//export core_write_test_fd
func core_write_test_fd(env *C.ErlNifEnv, argc C.int, argv *C.ERL_NIF_TERM) (result C.ERL_NIF_TERM) {
	defer guard(env, &result)
	args := arguments(argc, argv)
	data, ok := binaryArgument(env, args[1])
	if !ok {
		return C.enif_make_badarg(env)
	}
	return onTestFd(env, args[0], func(fd int) C.ERL_NIF_TERM {
		n, err := unix.Write(fd, data)
		if err != nil {
			return posixError(env, err)
		}
		return makeOk(env, makeInteger(env, int64(n)))
	})
}
