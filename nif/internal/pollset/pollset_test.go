package pollset

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"erlang_python/nif/internal/wake"
)

func newSet(t testing.TB) Set {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(false) })
	return s
}

// pair is a connected pair of stream sockets; what a test closes itself is not closed again.
type pair struct{ a, b int }

func newPair(t testing.TB) *pair {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{fds[0], fds[1]}
	t.Cleanup(func() { p.close(&p.a); p.close(&p.b) })
	return p
}

func (p *pair) close(fd *int) {
	if *fd >= 0 {
		_ = unix.Close(*fd)
		*fd = -1
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func send(t testing.TB, fd int) {
	t.Helper()
	_, err := unix.Write(fd, []byte("x"))
	must(t, err)
}

func receive(t testing.TB, fd int) {
	t.Helper()
	_, err := unix.Read(fd, make([]byte, 1))
	must(t, err)
}

// wait merges the directions of a descriptor, which kqueue reports apart.
func wait(t testing.TB, s Set, timeout time.Duration) map[int]uint32 {
	t.Helper()
	events := make([]Event, 16)
	n, _, err := s.Wait(events, int64(timeout))
	must(t, err)
	got := map[int]uint32{}
	for _, e := range events[:n] {
		got[int(e.Fd)] |= e.Mask
	}
	return got
}

func expect(t testing.TB, s Set, fd int, mask uint32) {
	t.Helper()
	got := wait(t, s, 0)
	if got[fd] != mask || len(got) > 1 || (mask == 0 && len(got) != 0) {
		t.Fatalf("got %v, want descriptor %d with %d", got, fd, mask)
	}
}

func readable(t testing.TB, fd int) bool {
	t.Helper()
	for {
		// Go's own preemption signals interrupt even a poll that does not wait.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if err == unix.EINTR {
			continue
		}
		must(t, err)
		return n == 1
	}
}

func TestEventLayoutIsThatOfC(t *testing.T) {
	var e Event
	if unsafe.Sizeof(e) != 8 || unsafe.Offsetof(e.Mask) != 4 {
		t.Fatalf("size %d, mask at %d", unsafe.Sizeof(e), unsafe.Offsetof(e.Mask))
	}
}

func TestReadinessIsLevelTriggered(t *testing.T) {
	s, p := newSet(t), newPair(t)
	must(t, s.Add(p.a, Read))
	expect(t, s, p.a, 0)
	if readable(t, s.Fd()) {
		t.Fatal("the set's descriptor is readable although nothing is ready")
	}
	send(t, p.b)
	for range 2 {
		expect(t, s, p.a, Read)
		if !readable(t, s.Fd()) {
			t.Fatal("the set's descriptor is not readable")
		}
	}
	receive(t, p.a)
	expect(t, s, p.a, 0)
	if readable(t, s.Fd()) {
		t.Fatal("the set's descriptor stays readable")
	}
}

func TestModifyAndRemove(t *testing.T) {
	s, p := newSet(t), newPair(t)
	must(t, s.Add(p.a, Read))
	if s.Interest(p.a) != Read || s.Len() != 1 {
		t.Fatalf("interest %d, len %d", s.Interest(p.a), s.Len())
	}
	must(t, s.Modify(p.a, Write))
	expect(t, s, p.a, Write)
	must(t, s.Modify(p.a, Read|Write))
	send(t, p.b)
	expect(t, s, p.a, Read|Write)
	must(t, s.Remove(p.a))
	expect(t, s, p.a, 0)
	must(t, s.Remove(p.a))
	if s.Interest(p.a) != 0 || s.Len() != 0 {
		t.Fatalf("interest %d, len %d", s.Interest(p.a), s.Len())
	}
	if err := s.Modify(p.a, Read); !errors.Is(err, syscall.ENOENT) {
		t.Fatalf("modify of an unknown descriptor: %v", err)
	}
}

func TestAddAgainChangesTheInterest(t *testing.T) {
	s, p := newSet(t), newPair(t)
	must(t, s.Add(p.a, Read))
	must(t, s.Add(p.a, Write))
	send(t, p.b)
	expect(t, s, p.a, Write)
	if s.Len() != 1 {
		t.Fatalf("len %d", s.Len())
	}
}

func TestErrnoOfBadDescriptors(t *testing.T) {
	s, p := newSet(t), newPair(t)
	for _, interest := range []uint32{0, 4, Read | 8} {
		if err := s.Add(p.a, interest); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("interest %d: %v", interest, err)
		}
	}
	fd := p.a
	p.close(&p.a)
	for _, bad := range []int{fd, -1, 1 << 30} {
		if err := s.Add(bad, Read); !errors.Is(err, syscall.EBADF) {
			t.Errorf("descriptor %d: %v", bad, err)
		}
		if s.Interest(bad) != 0 {
			t.Errorf("descriptor %d is registered after the error", bad)
		}
		must(t, s.Remove(bad))
	}
	if runtime.GOOS != "linux" {
		return
	}
	file, err := os.CreateTemp(t.TempDir(), "regular")
	must(t, err)
	defer file.Close()
	if err := s.Add(int(file.Fd()), Read); !errors.Is(err, os.ErrPermission) {
		t.Errorf("regular file: %v", err)
	}
}

// An idle socket whose peer is gone is readable and writable to whoever waits, as with
// CPython's selectors.
func TestHangUpIsReadableAndWritable(t *testing.T) {
	for _, interest := range []uint32{Read, Write, Read | Write} {
		s, p := newSet(t), newPair(t)
		must(t, s.Add(p.a, interest))
		p.close(&p.b)
		expect(t, s, p.a, interest)
	}
}

func TestClosedBehindItsBack(t *testing.T) {
	s, p := newSet(t), newPair(t)
	fd := p.a
	must(t, s.Add(fd, Read))
	p.close(&p.a)
	expect(t, s, fd, 0)
	must(t, s.Remove(fd))
	if s.Len() != 0 {
		t.Fatalf("len %d", s.Len())
	}
}

// reuse closes number and makes it mean the open file of *fd, in one step, so that no other
// thread gets the number in between.
func reuse(t testing.TB, fd *int, number int) {
	t.Helper()
	must(t, unix.Dup2(*fd, number))
	must(t, unix.Close(*fd))
	*fd = number
}

func TestReusedNumber(t *testing.T) {
	operations := map[string]func(s Set, fd int) error{
		"add":    func(s Set, fd int) error { return s.Add(fd, Read) },
		"modify": func(s Set, fd int) error { return s.Modify(fd, Read) },
	}
	for name, register := range operations {
		t.Run(name, func(t *testing.T) {
			s, old, next := newSet(t), newPair(t), newPair(t)
			number := old.a
			must(t, s.Add(number, Read))
			old.a = -1
			reuse(t, &next.a, number)
			must(t, register(s, number))
			expect(t, s, number, 0)
			send(t, next.b)
			expect(t, s, number, Read)
			must(t, s.Remove(number))
			expect(t, s, number, 0)
		})
	}
}

func TestStaleRegistrationIsDroppedAndRebuildEndsIt(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("kqueue forgets a descriptor when its number is closed")
	}
	s, old, next, other := newSet(t), newPair(t), newPair(t), newPair(t)
	number := old.a
	must(t, s.Add(number, Read))
	must(t, s.Add(other.a, Read))
	duplicate, err := unix.Dup(number)
	must(t, err)
	old.a = duplicate // keeps the open file alive, and with it the registration
	reuse(t, &next.a, number)
	must(t, s.Add(number, Read))
	send(t, old.b)

	events := make([]Event, 4)
	n, _, err := s.Wait(events, int64(time.Minute))
	if n != 0 || !errors.Is(err, ErrStale) {
		t.Fatalf("%d events, error %v: the old file's readiness reached the new one", n, err)
	}
	before, err := s.Rebuild()
	must(t, err)
	must(t, unix.Close(before))
	expect(t, s, number, 0)
	send(t, next.b)
	expect(t, s, number, Read)
	receive(t, number)
	send(t, other.b)
	expect(t, s, other.a, Read)
}

// A number that was closed, never removed, and belongs to a stranger by now, must not be
// registered by Rebuild.
func TestRebuildDoesNotRegisterStrangers(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("kqueue cannot tell")
	}
	s, old, next := newSet(t), newPair(t), newPair(t)
	number := old.a
	must(t, s.Add(number, Read))
	old.a = -1
	reuse(t, &next.a, number)
	send(t, next.b)
	before, err := s.Rebuild()
	must(t, err)
	must(t, unix.Close(before))
	expect(t, s, number, 0)
	if s.Len() != 0 {
		t.Fatalf("len %d", s.Len())
	}
}

func TestTimeoutIsNeverEarly(t *testing.T) {
	s := newSet(t)
	events := make([]Event, 1)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, d := range []time.Duration{
		1, 10 * time.Microsecond, 200 * time.Microsecond, 999_999, 1_000_001, 5 * time.Millisecond,
	} {
		for range 20 {
			start := Now()
			n, woken, err := s.Wait(events, int64(d))
			took := Now() - start
			if n != 0 || woken || err != nil || took < int64(d) {
				t.Fatalf("wait of %v: %d events, woken %v, %v after %v",
					d, n, woken, err, time.Duration(took))
			}
		}
	}
}

func TestEventEndsAWait(t *testing.T) {
	s, p := newSet(t), newPair(t)
	must(t, s.Add(p.a, Read))
	for _, timeout := range []time.Duration{-1, time.Minute} {
		go func() {
			time.Sleep(2 * time.Millisecond)
			_, _ = unix.Write(p.b, []byte("x"))
		}()
		if got := wait(t, s, timeout); got[p.a] != Read {
			t.Fatalf("got %v", got)
		}
		receive(t, p.a)
	}
}

func TestAddDuringAWaitTakesEffect(t *testing.T) {
	s, p := newSet(t), newPair(t)
	send(t, p.b)
	go func() {
		time.Sleep(2 * time.Millisecond)
		_ = s.Add(p.a, Read)
	}()
	if got := wait(t, s, time.Minute); got[p.a] != Read {
		t.Fatalf("got %v", got)
	}
}

func TestWakeUpIsAFlagAndIsCleared(t *testing.T) {
	s, p := newSet(t), newPair(t)
	w, err := wake.New()
	must(t, err)
	defer w.Close()
	must(t, s.SetWaker(w))
	must(t, s.Add(p.a, Read))
	events := make([]Event, 4)
	for range 2 {
		w.Prepare()
		w.Wake()
		if readable(t, s.Fd()) {
			t.Fatal("a wake-up made the users' descriptor readable")
		}
		n, woken, err := s.Wait(events, int64(time.Minute))
		if n != 0 || !woken || err != nil {
			t.Fatalf("%d events, woken %v, %v", n, woken, err)
		}
		w.Clear()
	}
	if n, woken, err := s.Wait(events, int64(time.Millisecond)); n != 0 || woken || err != nil {
		t.Fatalf("afterwards: %d events, woken %v, %v", n, woken, err)
	}
	must(t, s.SetWaker(nil))
	w.Prepare()
	w.Wake()
	if _, woken, err := s.Wait(events, int64(time.Millisecond)); woken || err != nil {
		t.Fatalf("a waker that was taken out: woken %v, %v", woken, err)
	}
	w.Clear()
}

func TestBoundedBatchesReachEverybody(t *testing.T) {
	s := newSet(t)
	const n = 10
	for range n {
		p := newPair(t)
		must(t, s.Add(p.a, Read))
		send(t, p.b)
	}
	seen := map[int32]bool{}
	events := make([]Event, 3)
	for range n {
		got, _, err := s.Wait(events, 0)
		must(t, err)
		if got != len(events) {
			t.Fatalf("%d events", got)
		}
		for _, e := range events {
			seen[e.Fd] = true
		}
	}
	if len(seen) != n {
		t.Fatalf("%d of %d descriptors were reported", len(seen), n)
	}
}

// Registrations from other threads race with a busy owner; run with -race.
func TestRegistrationsFromOtherThreads(t *testing.T) {
	s := newSet(t)
	const threads, rounds = 3, 300
	var wg sync.WaitGroup
	for range threads {
		p := newPair(t)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range rounds {
				if s.Add(p.a, Write) != nil || s.Modify(p.a, Read|Write) != nil || s.Remove(p.a) != nil {
					t.Error("registration failed")
				}
			}
		}()
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	events := make([]Event, 4)
	for {
		if _, _, err := s.Wait(events, int64(50*time.Microsecond)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-finished:
			if s.Len() != 0 {
				t.Fatalf("len %d", s.Len())
			}
			return
		default:
		}
	}
}

func TestCloseKeepsWhatItIsTold(t *testing.T) {
	s, err := New()
	must(t, err)
	fd := s.Fd()
	s.Close(true)
	_, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	must(t, err)
	must(t, unix.Close(fd))
}
