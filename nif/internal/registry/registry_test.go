package registry

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

type object struct{ id uint64 }

func TestAddGetRemove(t *testing.T) {
	r := New[object]()
	a, b := &object{1}, &object{2}
	ha, hb := r.Add(a), r.Add(b)
	if ha == 0 || hb == 0 || ha == hb {
		t.Fatalf("handles %d and %d", ha, hb)
	}
	if r.Get(ha) != a || r.Get(hb) != b || r.Len() != 2 {
		t.Fatal("lookup does not find what was added")
	}
	if r.Remove(ha) != a {
		t.Fatal("remove does not return the object")
	}
	if r.Get(ha) != nil || r.Remove(ha) != nil || r.Get(hb) != b || r.Len() != 1 {
		t.Fatal("a removed handle is still there, or another one is gone")
	}
}

func TestStaleHandleDoesNotFindTheNextTenant(t *testing.T) {
	r := New[object]()
	old := r.Add(&object{1})
	r.Remove(old)
	next := r.Add(&object{2})
	if next&(maxSlots-1) != old&(maxSlots-1) {
		t.Fatal("the slot was not used again, the test shows nothing")
	}
	if r.Get(old) != nil || r.Remove(old) != nil {
		t.Fatal("a stale handle reached the slot's next object")
	}
	if r.Get(next) == nil {
		t.Fatal("removing a stale handle hurt the live one")
	}
}

func TestForeignNumbersFindNothing(t *testing.T) {
	r := New[object]()
	h := r.Add(&object{1})
	for _, bad := range []uint64{
		0, 1, h + 1, h + 1<<indexBits, h | 1<<59, h | 1<<63, ^uint64(0), maxSlots - 1,
	} {
		if r.Get(bad) != nil || r.Remove(bad) != nil {
			t.Errorf("%#x found something", bad)
		}
	}
	if r.Get(h) == nil {
		t.Fatal("the real handle is gone")
	}
}

func TestHandlesAreErlangSmallIntegers(t *testing.T) {
	r := New[object]()
	h := r.Add(&object{1})
	r.Remove(h)
	r.slot(0).generation = maxGeneration - 1
	last := r.Add(&object{2})
	if last>>59 != 0 {
		t.Fatalf("%#x does not fit in 59 bits", last)
	}
	if r.Get(last) == nil {
		t.Fatal("the last generation is not found")
	}
	// The slot has no generation left: it is given up rather than started over.
	r.Remove(last)
	if next := r.Add(&object{3}); next&(maxSlots-1) == 0 {
		t.Fatalf("%#x: an exhausted slot was used again", next)
	}
}

func TestGrowthKeepsHandles(t *testing.T) {
	const n = 5000
	r := New[object]()
	handles := make([]uint64, n)
	for i := range handles {
		handles[i] = r.Add(&object{uint64(i)})
	}
	for i, h := range handles {
		if x := r.Get(h); x == nil || x.id != uint64(i) {
			t.Fatalf("handle %d leads to %v", i, x)
		}
	}
	seen := map[uint64]bool{}
	r.Range(func(h uint64, x *object) bool {
		if handles[x.id] != h {
			t.Errorf("Range shows %d under %#x", x.id, h)
		}
		seen[x.id] = true
		return true
	})
	if len(seen) != n || r.Len() != n {
		t.Fatalf("Range saw %d, Len %d of %d", len(seen), r.Len(), n)
	}
	count := 0
	r.Range(func(uint64, *object) bool { count++; return count < 3 })
	if count != 3 {
		t.Fatalf("Range went on after false: %d", count)
	}
	r.Range(func(h uint64, _ *object) bool { r.Remove(h); return true })
	if r.Len() != 0 {
		t.Fatalf("%d left", r.Len())
	}
}

// Two threads spin for the same handle, so that they call Remove at the same moment.
func TestOneCallerWinsRemove(t *testing.T) {
	const rounds = 20_000
	r := New[object]()
	var round atomic.Int64
	var handle atomic.Uint64
	var wins [2]atomic.Int64
	var done [2]atomic.Int64
	for i := range wins {
		go func() {
			for n := int64(1); n <= rounds; n++ {
				for round.Load() < n {
					runtime.Gosched()
				}
				if r.Remove(handle.Load()) != nil {
					wins[i].Add(1)
				}
				done[i].Store(n)
			}
		}()
	}
	for n := int64(1); n <= rounds; n++ {
		handle.Store(r.Add(&object{}))
		round.Store(n)
		for done[0].Load() < n || done[1].Load() < n {
			runtime.Gosched()
		}
		if won := wins[0].Load() + wins[1].Load(); won != n {
			t.Fatalf("round %d: %d wins in all", n, won)
		}
		// A slot that was given back twice would be handed to two tenants.
		a, b := &object{1}, &object{2}
		ha, hb := r.Add(a), r.Add(b)
		if r.Len() != 2 || r.Remove(ha) != a || r.Remove(hb) != b {
			t.Fatalf("round %d: two objects share a slot, or the count is off", n)
		}
	}
}

// A reader holds handles whose slot is handed on all the time; it must see the object that the
// handle was issued for, or none.
func TestGetNeverSeesAnotherObject(t *testing.T) {
	type tenant struct{ handle atomic.Uint64 }
	r := New[tenant]()
	var current atomic.Uint64
	var stop atomic.Bool
	var checked, wrong atomic.Int64
	var readers sync.WaitGroup
	for range 2 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			for !stop.Load() {
				h := current.Load()
				x := r.Get(h)
				if x == nil {
					continue
				}
				if owner := x.handle.Load(); owner != 0 && owner != h {
					wrong.Add(1)
				}
				checked.Add(1)
			}
		}()
	}
	for n := 0; n < 300_000 || (checked.Load() < 1000 && n < 30_000_000); n++ {
		x := &tenant{}
		h := r.Add(x)
		x.handle.Store(h)
		current.Store(h)
		if r.Remove(h) != x {
			t.Fatalf("lost %#x", h)
		}
	}
	stop.Store(true)
	readers.Wait()
	if wrong.Load() != 0 || checked.Load() == 0 {
		t.Fatalf("%d of %d lookups found another object", wrong.Load(), checked.Load())
	}
	if r.Len() != 0 {
		t.Fatalf("%d left", r.Len())
	}
}

// Any sequence of operations agrees with a map.
func FuzzAgainstMap(f *testing.F) {
	f.Add([]byte{0, 0, 0, 129, 0, 130, 0, 0, 131})
	f.Fuzz(func(t *testing.T, ops []byte) {
		r := New[object]()
		model := map[uint64]*object{}
		var issued []uint64
		for _, op := range ops {
			if op < 128 || len(issued) == 0 {
				x := &object{}
				h := r.Add(x)
				if _, again := model[h]; again || h == 0 {
					t.Fatalf("handle %#x issued twice", h)
				}
				model[h] = x
				issued = append(issued, h)
				continue
			}
			h := issued[int(op-128)%len(issued)]
			if got := r.Remove(h); got != model[h] {
				t.Fatalf("remove %#x: %p, want %p", h, got, model[h])
			}
			model[h] = nil
		}
		live := 0
		for h, x := range model {
			if r.Get(h) != x {
				t.Fatalf("get %#x: %p, want %p", h, r.Get(h), x)
			}
			if x != nil {
				live++
			}
		}
		if r.Len() != live {
			t.Fatalf("%d live, want %d", r.Len(), live)
		}
	})
}

func BenchmarkGet(b *testing.B) {
	r := New[object]()
	var h uint64
	for range 1000 {
		h = r.Add(&object{})
	}
	for b.Loop() {
		if r.Get(h) == nil {
			b.Fatal("gone")
		}
	}
}

func BenchmarkAddRemove(b *testing.B) {
	r := New[object]()
	x := &object{}
	b.ReportAllocs()
	for b.Loop() {
		r.Remove(r.Add(x))
	}
}
