package registry

import (
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

func TestOneCallerWinsRemove(t *testing.T) {
	r := New[object]()
	for range 2000 {
		h := r.Add(&object{})
		var winners atomic.Int32
		var wg sync.WaitGroup
		for range 3 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if r.Remove(h) != nil {
					winners.Add(1)
				}
			}()
		}
		wg.Wait()
		if winners.Load() != 1 {
			t.Fatalf("%d winners", winners.Load())
		}
	}
}

// Readers hold handles whose slots are handed on all the time; they must see their own
// object or none.
func TestGetNeverSeesAnotherObject(t *testing.T) {
	r := New[object]()
	var current [4]atomic.Uint64
	var ids sync.Map
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for i := range current {
		writers.Add(1)
		go func() {
			defer writers.Done()
			for n := range 20000 {
				x := &object{uint64(i)<<32 | uint64(n)}
				h := r.Add(x)
				if n%16 == 0 {
					ids.Store(h, x.id)
				}
				current[i].Store(h)
				if r.Remove(h) != x {
					t.Errorf("lost %#x", h)
				}
			}
		}()
		readers.Add(1)
		go func() {
			defer readers.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				h := current[i].Load()
				x := r.Get(h)
				if x == nil {
					continue
				}
				if id, ok := ids.Load(h); ok && id != x.id {
					t.Errorf("%#x leads to %#x instead of %#x", h, x.id, id)
				}
			}
		}()
	}
	writers.Wait()
	close(stop)
	readers.Wait()
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
