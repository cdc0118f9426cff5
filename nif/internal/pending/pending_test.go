package pending

import (
	"slices"
	"sync"
	"testing"
)

func TestDuplicatesAreMergedInArrivalOrder(t *testing.T) {
	var s Set
	if !s.Add(7, Read) {
		t.Fatal("the first event does not say that the set was empty")
	}
	for _, e := range []Event{{7, Write}, {3, Timer}, {7, Read}, {3, Timer}, {3, Read}} {
		if s.Add(e.CallbackID, e.Kind) {
			t.Fatalf("%v says that the set was empty", e)
		}
	}
	want := []Event{{7, Read}, {7, Write}, {3, Timer}, {3, Read}}
	if s.Len() != len(want) {
		t.Fatalf("len %d", s.Len())
	}
	if got := s.Detach(); !slices.Equal(got, want) {
		t.Fatalf("got %v", got)
	}
	if s.Len() != 0 || len(s.Detach()) != 0 {
		t.Fatal("detached events are still there")
	}
	// What was taken may come again.
	if !s.Add(7, Read) || len(s.Detach()) != 1 {
		t.Fatal("an event that was taken is merged with its successor")
	}
}

func TestDetachedEventsAreTheCallersUntilRecycled(t *testing.T) {
	var s Set
	s.Add(1, Read)
	first := s.Detach()
	s.Add(2, Read)
	if first[0] != (Event{1, Read}) {
		t.Fatal("an Add wrote into a detached slice")
	}
	s.Recycle(first)
	second := s.Detach()
	s.Add(3, Read)
	if second[0] != (Event{2, Read}) {
		t.Fatal("an Add wrote into a detached slice")
	}
}

func TestDiscard(t *testing.T) {
	var s Set
	for id := range uint64(3) {
		s.Add(id, Timer)
	}
	if !s.Discard(1, Timer) || s.Discard(1, Timer) || s.Discard(0, Read) {
		t.Fatal("discard does not tell what was there")
	}
	s.Add(1, Timer)
	if got := s.Detach(); !slices.Equal(got, []Event{{0, Timer}, {2, Timer}, {1, Timer}}) {
		t.Fatalf("got %v", got)
	}
}

func TestClose(t *testing.T) {
	var s Set
	s.Add(1, Read)
	s.Close()
	if s.Add(2, Read) {
		t.Fatal("add after close")
	}
	if got := s.Detach(); !slices.Equal(got, []Event{{1, Read}}) {
		t.Fatalf("got %v", got)
	}
}

func TestBurstDoesNotKeepItsMemory(t *testing.T) {
	var s Set
	for id := range uint64(4 * keep) {
		s.Add(id, Read)
	}
	s.Recycle(s.Detach())
	if s.spare != nil || s.seen != nil {
		t.Fatal("the buffers of a burst were kept")
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	var s Set
	round := func() {
		for id := range uint64(100) {
			s.Add(id, Read)
			s.Add(id, Write)
		}
		s.Recycle(s.Detach())
	}
	round()
	if n := testing.AllocsPerRun(50, round); n != 0 {
		t.Fatalf("%v allocations per round", n)
	}
}

// Whoever is told that the set was empty detaches; nothing may be left for nobody.
func TestWasEmptyIsSaidOncePerBatch(t *testing.T) {
	var s Set
	const threads, each = 4, 5000
	told := make(chan struct{}, threads*each)
	var wg sync.WaitGroup
	for thread := range threads {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				if s.Add(uint64(thread*each+i), Timer) {
					told <- struct{}{}
				}
			}
		}()
	}
	go func() { wg.Wait(); close(told) }()
	seen := 0
	for range told {
		events := s.Detach()
		if len(events) == 0 {
			t.Fatal("told about an empty set")
		}
		seen += len(events)
		s.Recycle(events)
	}
	if seen != threads*each {
		t.Fatalf("%d of %d events", seen, threads*each)
	}
}

// Any sequence of operations agrees with a slice.
func FuzzAgainstSlice(f *testing.F) {
	f.Add([]byte{1, 2, 1, 200, 1, 255, 2, 3})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var s Set
		var model []Event
		for _, op := range ops {
			e := Event{uint64(op >> 2 & 15), Kind(op&3)%3 + 1}
			at := slices.Index(model, e)
			switch {
			case op < 160:
				if s.Add(e.CallbackID, e.Kind) != (len(model) == 0) {
					t.Fatal("was empty")
				}
				if at < 0 {
					model = append(model, e)
				}
			case op < 224:
				if s.Discard(e.CallbackID, e.Kind) != (at >= 0) {
					t.Fatal("discard")
				}
				if at >= 0 {
					model = slices.Delete(model, at, at+1)
				}
			default:
				events := s.Detach()
				if !slices.Equal(events, model) {
					t.Fatalf("%v, want %v", events, model)
				}
				s.Recycle(events)
				model = nil
			}
			if s.Len() != len(model) {
				t.Fatalf("len %d, want %d", s.Len(), len(model))
			}
		}
	})
}

func BenchmarkAddDetach(b *testing.B) {
	var s Set
	b.ReportAllocs()
	for i := 0; i < b.N; i += 64 {
		for id := range uint64(64) {
			s.Add(id, Read)
		}
		s.Recycle(s.Detach())
	}
}
