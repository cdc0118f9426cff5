package wake

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func newWaker(t testing.TB) *Waker {
	t.Helper()
	w, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func sleep(t testing.TB, w *Waker, timeout time.Duration) (bool, time.Duration) {
	t.Helper()
	start := time.Now()
	woken, err := w.Sleep(int64(timeout))
	if err != nil {
		t.Fatal(err)
	}
	return woken, time.Since(start)
}

func TestWakeWithoutSleeperWritesNothing(t *testing.T) {
	w := newWaker(t)
	w.Wake()
	if woken, _ := sleep(t, w, 0); woken {
		t.Fatal("a wake-up of an awake owner reached the descriptor")
	}
}

func TestWakeBetweenPrepareAndSleepIsRemembered(t *testing.T) {
	w := newWaker(t)
	w.Prepare()
	if !w.Sleeping() {
		t.Fatal("not announced")
	}
	w.Wake()
	w.Wake()
	if w.Sleeping() {
		t.Fatal("a second wake-up would write again")
	}
	if woken, _ := sleep(t, w, time.Minute); !woken {
		t.Fatal("the wake-up was lost")
	}
	w.Clear()
	w.Prepare()
	if woken, took := sleep(t, w, 5*time.Millisecond); woken || took < 5*time.Millisecond {
		t.Fatalf("the old wake-up came again (woken %v) or the sleep was short (%v)", woken, took)
	}
	w.Clear()
}

func TestClearSwallowsTheWakeUpOfASleepThatDidNotHappen(t *testing.T) {
	w := newWaker(t)
	w.Prepare()
	w.Wake()
	w.Clear()
	w.Prepare()
	if woken, _ := sleep(t, w, 0); woken {
		t.Fatal("the descriptor is still readable")
	}
	w.Clear()
}

func TestSleepEndsWithTheTimeoutAndNeverEarly(t *testing.T) {
	w := newWaker(t)
	for _, d := range []time.Duration{0, 1, 300 * time.Microsecond, 3 * time.Millisecond} {
		w.Prepare()
		woken, took := sleep(t, w, d)
		w.Clear()
		if woken || took < d {
			t.Fatalf("sleep of %v: woken %v after %v", d, woken, took)
		}
	}
}

func TestWakeEndsASleepForEver(t *testing.T) {
	w := newWaker(t)
	w.Prepare()
	go func() {
		time.Sleep(2 * time.Millisecond)
		w.Wake()
	}()
	if woken, _ := sleep(t, w, -1); !woken {
		t.Fatal("ended without a wake-up")
	}
	w.Clear()
}

func TestClosedWakerIsSilent(t *testing.T) {
	w, err := New()
	if err != nil {
		t.Fatal(err)
	}
	w.Prepare()
	w.Close()
	w.Close()
	w.Wake()
	w.Prepare()
	w.Wake()
	w.Clear()
	if w.Sleeping() {
		t.Fatal("a closed waker sleeps")
	}
}

// The protocol of the package comment, with every sleep for ever: if a wake-up were lost,
// the owner would not come back, and the test would not end.
func TestNoWakeUpIsLost(t *testing.T) {
	const producers, each = 3, 20000
	w := newWaker(t)
	var work atomic.Int64
	var wg sync.WaitGroup
	for range producers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				work.Add(1)
				w.Wake()
				if i%64 == 0 {
					runtime.Gosched()
				}
			}
		}()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	watchdog := time.AfterFunc(time.Minute, func() { panic("a wake-up was lost") })
	defer watchdog.Stop()
	done := int64(0)
	for done < producers*each {
		done += work.Swap(0)
		if done == producers*each {
			break
		}
		w.Prepare()
		if work.Load() == 0 {
			if _, err := w.Sleep(-1); err != nil {
				t.Fatal(err)
			}
		}
		w.Clear()
	}
	wg.Wait()
}

// Close may race with wakers; none of them may write to the number afterwards, when it
// belongs to somebody else.
func TestCloseRacingWithWake(t *testing.T) {
	for range 300 {
		w, err := New()
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				w.Wake()
			}()
		}
		w.Prepare()
		w.Close()
		// The lowest free number is the one just closed.
		next, err := New()
		if err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if woken, _ := sleep(t, next, 0); woken {
			t.Fatal("a late wake-up reached a stranger's descriptor")
		}
		next.Close()
	}
}

// The same without luck: while a thread is between its decision to write and the write, Close
// does not give the descriptor back.
func TestCloseWaitsForWriters(t *testing.T) {
	w, err := New()
	if err != nil {
		t.Fatal(err)
	}
	w.writers.Add(1)
	closed := make(chan struct{})
	go func() {
		w.Close()
		close(closed)
	}()
	select {
	case <-closed:
		t.Fatal("closed under a writer")
	case <-time.After(20 * time.Millisecond):
	}
	w.signal()
	w.writers.Add(-1)
	<-closed
}

func BenchmarkWakeAwake(b *testing.B) {
	w := newWaker(b)
	for b.Loop() {
		w.Wake()
	}
}

func BenchmarkWakeDrain(b *testing.B) {
	w := newWaker(b)
	for b.Loop() {
		w.Prepare()
		w.Wake()
		w.Clear()
	}
}

// The full price of sleeping: two locked threads that wake each other in turn.
func BenchmarkPingPong(b *testing.B) {
	ping, pong := newWaker(b), newWaker(b)
	var turn atomic.Int64
	wait := func(w *Waker, until int64) {
		for turn.Load() < until {
			w.Prepare()
			if turn.Load() < until {
				_, _ = w.Sleep(-1)
			}
			w.Clear()
		}
	}
	n := int64(b.N)
	go func() {
		runtime.LockOSThread()
		for i := int64(0); i < n; i++ {
			wait(ping, 2*i+1)
			turn.Store(2*i + 2)
			pong.Wake()
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i := int64(0); i < n; i++ {
		turn.Store(2*i + 1)
		ping.Wake()
		wait(pong, 2*i+2)
	}
}

func TestNotifyIsRememberedUntilTaken(t *testing.T) {
	w := newWaker(t)
	if w.Notified() || w.TakeNotified() {
		t.Fatal("notified before Notify")
	}
	w.Notify()
	if !w.Notified() || !w.TakeNotified() || w.TakeNotified() {
		t.Fatal("a notification of an awake owner is taken once")
	}
	w.Prepare()
	w.Notify()
	if woken, _ := sleep(t, w, time.Minute); !woken {
		t.Fatal("a notification does not wake")
	}
	w.Clear()
	if !w.TakeNotified() {
		t.Fatal("the notification is gone after the sleep")
	}
	w.Wake()
	if w.Notified() {
		t.Fatal("Wake notifies")
	}
}
