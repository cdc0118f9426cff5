package queue

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

type item struct {
	Link[item]
	producer, seq int
}

func values(xs []*item) []int {
	out := make([]int, 0, len(xs))
	for _, x := range xs {
		out = append(out, x.seq)
	}
	return out
}

func expect(t *testing.T, got []*item, want ...int) {
	t.Helper()
	seqs := values(got)
	if len(seqs) != len(want) {
		t.Fatalf("got %v, want %v", seqs, want)
	}
	for i := range want {
		if seqs[i] != want[i] {
			t.Fatalf("got %v, want %v", seqs, want)
		}
	}
}

func TestFifoAcrossBoundedTakes(t *testing.T) {
	q := New[item](0)
	push := func(seq int) {
		if err := q.Push(&item{seq: seq}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		push(i)
	}
	expect(t, q.Take(nil, 2), 0, 1)
	push(5)
	if q.Empty() || q.Len() != 4 {
		t.Fatalf("empty %v len %d with four elements left", q.Empty(), q.Len())
	}
	// One Take crosses from the remainder of the former batch to newly pushed elements.
	expect(t, q.Take(nil, 4), 2, 3, 4, 5)
	if !q.Empty() || q.Len() != 0 {
		t.Fatalf("empty %v len %d after everything was taken", q.Empty(), q.Len())
	}
	expect(t, q.Take(nil, 0))
}

func TestTakeAppends(t *testing.T) {
	q := New[item](0)
	_ = q.Push(&item{seq: 1})
	_ = q.Push(&item{seq: 2})
	expect(t, q.Take([]*item{{seq: 0}}, 1), 0, 1)
	expect(t, q.Take(nil, 0), 2)
}

func TestLimitCountsUntilTaken(t *testing.T) {
	q := New[item](2)
	for seq := range 2 {
		if err := q.Push(&item{seq: seq}); err != nil {
			t.Fatal(err)
		}
	}
	late := &item{seq: 2}
	if err := q.Push(late); !errors.Is(err, ErrFull) {
		t.Fatalf("push beyond the limit: %v", err)
	}
	expect(t, q.Take(nil, 1), 0)
	if err := q.Push(late); err != nil {
		t.Fatalf("push after a take made room: %v", err)
	}
	if err := q.Push(&item{seq: 3}); !errors.Is(err, ErrFull) {
		t.Fatalf("elements kept for the next Take do not count: %v", err)
	}
	expect(t, q.Take(nil, 0), 1, 2)
}

func TestCloseReturnsEverythingInOrder(t *testing.T) {
	q := New[item](3)
	for seq := range 3 {
		_ = q.Push(&item{seq: seq})
	}
	expect(t, q.Take(nil, 1), 0)
	_ = q.Push(&item{seq: 3})
	expect(t, q.Close(), 1, 2, 3)
	if err := q.Push(&item{seq: 4}); !errors.Is(err, ErrClosed) {
		t.Fatalf("push after close: %v", err)
	}
	if !q.Closed() || !q.Empty() || q.Len() != 0 {
		t.Fatalf("closed %v empty %v len %d", q.Closed(), q.Empty(), q.Len())
	}
	expect(t, q.Close())
	expect(t, q.Take(nil, 0))
}

// A full queue that is closed says closed: the caller must not wait for room.
func TestClosedWinsOverFull(t *testing.T) {
	q := New[item](1)
	_ = q.Push(&item{})
	q.Close()
	if err := q.Push(&item{}); !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v", err)
	}
}

func TestElementCanBePushedAgain(t *testing.T) {
	q := New[item](0)
	x, y := &item{seq: 1}, &item{seq: 2}
	for range 3 {
		_ = q.Push(x)
		_ = q.Push(y)
		expect(t, q.Take(nil, 0), 1, 2)
	}
}

func TestPushDoesNotAllocate(t *testing.T) {
	q := New[item](10)
	x := &item{}
	buf := make([]*item, 0, 1)
	if n := testing.AllocsPerRun(100, func() {
		_ = q.Push(x)
		buf = q.Take(buf[:0], 1)
	}); n != 0 {
		t.Fatalf("%v allocations per push and take", n)
	}
}

// Every element that Push accepted comes out exactly once, through Take or through Close,
// and in the order of its producer, while producers race with the consumer and with Close.
func TestNothingIsLostWhenCloseRaces(t *testing.T) {
	const producers, rounds, enough = 4, 50, 300
	for range rounds {
		q := New[item](64)
		var accepted, seen atomic.Int64
		last := [producers]int{}
		for i := range last {
			last[i] = -1
		}
		account := func(xs []*item) {
			for _, x := range xs {
				if x.seq <= last[x.producer] {
					t.Errorf("producer %d: %d after %d", x.producer, x.seq, last[x.producer])
				}
				last[x.producer] = x.seq
				seen.Add(1)
			}
		}
		var pushing sync.WaitGroup
		for p := range producers {
			pushing.Add(1)
			go func() {
				defer pushing.Done()
				for seq := 0; ; {
					switch err := q.Push(&item{producer: p, seq: seq}); {
					case err == nil:
						seq++
						accepted.Add(1)
					case errors.Is(err, ErrClosed):
						return
					default:
						runtime.Gosched()
					}
				}
			}()
		}
		consumed := make(chan struct{})
		stop := make(chan struct{})
		go func() {
			defer close(consumed)
			var buf []*item
			for {
				buf = q.Take(buf[:0], 7)
				account(buf)
				if n := q.Len(); n > 64 {
					t.Errorf("length %d beyond the limit", n)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
		for accepted.Load() < enough {
			if q.Len() < 0 {
				t.Error("negative length")
			}
			runtime.Gosched()
		}
		// Close here, on a thread that is neither producer nor consumer.
		rest := q.Close()
		close(stop)
		<-consumed
		pushing.Wait()
		account(rest)
		account(q.Take(nil, 0))
		if seen.Load() != accepted.Load() {
			t.Fatalf("%d accepted, %d seen", accepted.Load(), seen.Load())
		}
		if q.Len() != 0 {
			t.Fatalf("length %d at the end", q.Len())
		}
	}
}

// Any sequence of operations agrees with a slice.
func FuzzAgainstSlice(f *testing.F) {
	f.Add([]byte{0, 0, 0, 10, 0, 255, 0, 9}, uint8(0))
	f.Add([]byte{0, 0, 0, 0, 8, 0, 0, 200, 8, 8}, uint8(3))
	f.Fuzz(func(t *testing.T, ops []byte, limit uint8) {
		q := New[item](int(limit))
		var model []int
		closed := false
		for seq, op := range ops {
			switch {
			case op < 128:
				want := error(nil)
				if closed {
					want = ErrClosed
				} else if limit > 0 && len(model) >= int(limit) {
					want = ErrFull
				}
				if err := q.Push(&item{seq: seq}); !errors.Is(err, want) {
					t.Fatalf("push: %v, want %v", err, want)
				}
				if want == nil {
					model = append(model, seq)
				}
			case op < 250:
				n := min(int(op-128), len(model))
				if op == 128 {
					n = len(model)
				}
				expect(t, q.Take(nil, int(op-128)), model[:n]...)
				model = model[n:]
			default:
				expect(t, q.Close(), model...)
				model, closed = nil, true
			}
			if q.Len() != len(model) || q.Empty() != (len(model) == 0) || q.Closed() != closed {
				t.Fatalf("len %d empty %v closed %v, want %d elements, closed %v",
					q.Len(), q.Empty(), q.Closed(), len(model), closed)
			}
		}
	})
}

func BenchmarkPushTake(b *testing.B) {
	q := New[item](1 << 20)
	xs := make([]item, 64)
	buf := make([]*item, 0, 64)
	b.ReportAllocs()
	for i := 0; i < b.N; i += len(xs) {
		for j := range xs {
			_ = q.Push(&xs[j])
		}
		buf = q.Take(buf[:0], 0)
	}
}

func BenchmarkEmpty(b *testing.B) {
	q := New[item](0)
	for b.Loop() {
		if !q.Empty() {
			b.Fatal("not empty")
		}
	}
}

func BenchmarkPushContended(b *testing.B) {
	q := New[item](0)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]*item, 0, 1024)
		for {
			buf = q.Take(buf[:0], 1024)
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = q.Push(&item{})
		}
	})
	close(stop)
	<-done
}
