package pollset

import (
	"os"
	"os/signal"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"erlang_python/nif/internal/wake"
)

// Signals at the waiting thread neither end a wait early nor make it last longer than it
// should, as waiting for the full time again after each of them would.
func TestSignalsDoNotDisturbAWait(t *testing.T) {
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, unix.SIGUSR1)
	defer signal.Stop(ignored)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	process, thread := unix.Getpid(), unix.Gettid()
	const d, disturbed = 200 * time.Millisecond, 150 * time.Millisecond
	check := func(name string, sleep func() (int, bool, error)) {
		sent := make(chan int)
		go func() {
			n := 0
			for start := time.Now(); time.Since(start) < disturbed; n++ {
				_ = unix.Tgkill(process, thread, unix.SIGUSR1)
				time.Sleep(time.Millisecond)
			}
			sent <- n
		}()
		start := Now()
		n, woken, err := sleep()
		took := time.Duration(Now() - start)
		if n != 0 || woken || err != nil || took < d || took > d+disturbed*2/3 {
			t.Errorf("%s of %v: %d events, woken %v, %v after %v", name, d, n, woken, err, took)
		}
		if n := <-sent; n < 3 {
			t.Errorf("%s: only %d signals came, the test shows nothing", name, n)
		}
	}
	s := newSet(t)
	events := make([]Event, 1)
	check("wait", func() (int, bool, error) { return s.Wait(events, int64(d)) })
	w, err := wake.New()
	must(t, err)
	defer w.Close()
	w.Prepare()
	check("sleep", func() (int, bool, error) {
		woken, err := w.Sleep(int64(d))
		return 0, woken, err
	})
	w.Clear()
}

// A producer that was held up between its decision and its write ends the owner's next sleep,
// and only that one: the descriptor must not stay readable, or every later sleep ends at once.
func TestLateWakeUpEndsOneWaitOnly(t *testing.T) {
	s := newSet(t)
	w, err := wake.New()
	must(t, err)
	defer w.Close()
	must(t, s.SetWaker(w))
	_, err = unix.Write(w.Fd(), []byte{1, 0, 0, 0, 0, 0, 0, 0})
	must(t, err)
	events := make([]Event, 1)
	for _, late := range []bool{true, false} {
		w.Prepare()
		n, woken, err := s.Wait(events, int64(2*time.Millisecond))
		w.Clear()
		if n != 0 || woken != late || err != nil {
			t.Fatalf("%d events, woken %v instead of %v, %v", n, woken, late, err)
		}
	}
}

func TestPreciseTimersChangesTheTimerSlackOfThisThread(t *testing.T) {
	runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
	if err := PreciseTimers(); err != nil {
		t.Fatal(err)
	}
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || slack != 1 {
		t.Fatalf("slack %d, %v", slack, err)
	}
}
