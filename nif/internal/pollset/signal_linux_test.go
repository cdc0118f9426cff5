package pollset

import (
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"erlang_python/nif/internal/wake"
)

// A storm of signals at the waiting thread neither ends a wait early nor makes it last longer
// than it should, as waiting for the full time again after each signal would.
func TestSignalsDoNotDisturbAWait(t *testing.T) {
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, unix.SIGUSR1)
	defer signal.Stop(ignored)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	process, thread := unix.Getpid(), unix.Gettid()
	var sent atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Tgkill(process, thread, unix.SIGUSR1)
				sent.Add(1)
				time.Sleep(200 * time.Microsecond)
			}
		}
	}()
	const d = 40 * time.Millisecond
	check := func(name string, sleep func() (int, bool, error)) {
		before, start := sent.Load(), Now()
		n, woken, err := sleep()
		took := time.Duration(Now() - start)
		if n != 0 || woken || err != nil || took < d || took > d+time.Second {
			t.Errorf("%s of %v: %d events, woken %v, %v after %v", name, d, n, woken, err, took)
		}
		if sent.Load()-before < 3 {
			t.Errorf("%s: only %d signals came, the test shows nothing", name, sent.Load()-before)
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
	close(stop)
	<-stopped
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
