package pollset

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"erlang_python/nif/internal/wake"
)

func BenchmarkWaitZeroEmpty(b *testing.B) {
	s, p := newSet(b), newPair(b)
	must(b, s.Add(p.a, Read))
	events := make([]Event, 64)
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = s.Wait(events, 0)
	}
}

func BenchmarkWaitZeroOneReady(b *testing.B) {
	s, p := newSet(b), newPair(b)
	must(b, s.Add(p.a, Read))
	send(b, p.b)
	events := make([]Event, 64)
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = s.Wait(events, 0)
	}
}

func BenchmarkWaitWoken(b *testing.B) {
	s, p := newSet(b), newPair(b)
	must(b, s.Add(p.a, Read))
	w, err := wake.New()
	must(b, err)
	defer w.Close()
	must(b, s.SetWaker(w))
	events := make([]Event, 64)
	b.ReportAllocs()
	for b.Loop() {
		w.Prepare()
		w.Wake()
		_, _, _ = s.Wait(events, -1)
		w.Clear()
	}
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		Now()
	}
}

func BenchmarkAddRemove(b *testing.B) {
	s, p := newSet(b), newPair(b)
	for b.Loop() {
		_ = s.Add(p.a, Read)
		_ = s.Remove(p.a)
	}
}

// How much later than asked a timed wait returns. The thread ends with its goroutine, so that
// no other benchmark inherits its timer slack.
func BenchmarkLateness(b *testing.B) {
	for _, precise := range []bool{false, true} {
		name := "default"
		if precise {
			name = "precise"
		}
		for _, d := range []time.Duration{200 * time.Microsecond, time.Millisecond} {
			b.Run(name+"/"+d.String(), func(b *testing.B) {
				var late []int64
				done := make(chan struct{})
				go func() {
					defer close(done)
					runtime.LockOSThread()
					if precise {
						_ = PreciseTimers()
					}
					late = measure(b, d)
				}()
				<-done
				slices.Sort(late)
				b.ReportMetric(float64(late[len(late)/2])/1e3, "p50-µs-late")
				b.ReportMetric(float64(late[len(late)*9/10])/1e3, "p90-µs-late")
			})
		}
	}
}

func measure(b *testing.B, d time.Duration) []int64 {
	s, err := New()
	if err != nil {
		b.Error(err)
		return []int64{0}
	}
	defer s.Close(false)
	events := make([]Event, 1)
	late := make([]int64, 0, b.N)
	for range b.N {
		start := Now()
		_, _, _ = s.Wait(events, int64(d))
		late = append(late, Now()-start-int64(d))
	}
	return late
}

// The pair's descriptors stay out of the numbers above; this one is the price of a byte.
func BenchmarkSocketRoundTrip(b *testing.B) {
	s, p := newSet(b), newPair(b)
	must(b, s.Add(p.a, Read))
	events := make([]Event, 64)
	buf := []byte("x")
	for b.Loop() {
		_, _ = unix.Write(p.b, buf)
		_, _, _ = s.Wait(events, -1)
		_, _ = unix.Read(p.a, buf)
	}
}
