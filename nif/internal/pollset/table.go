package pollset

import "sync"

// table remembers what is registered, by descriptor number. Numbers are small, so it is a
// slice; it is locked because registrations come from other threads than the waiting one.
// The lock is held for the system call that changes a registration, which keeps the table
// and the kernel in step, and never while waiting.
type table struct {
	mu      sync.Mutex
	entries []entry
	count   int
	last    uint32
}

// entry is one registration. Each gets a generation, which the kernel hands back with the
// event: an event of an earlier registration of the same number is recognised by it.
type entry struct {
	generation uint32
	interest   uint32 // 0: not registered
}

func (t *table) get(fd int) entry {
	if fd < 0 || fd >= len(t.entries) {
		return entry{}
	}
	return t.entries[fd]
}

func (t *table) put(fd int, e entry) {
	if fd >= len(t.entries) {
		t.entries = append(t.entries, make([]entry, fd+1-len(t.entries))...)
	}
	if (t.entries[fd].interest == 0) != (e.interest == 0) {
		if e.interest == 0 {
			t.count--
		} else {
			t.count++
		}
	}
	t.entries[fd] = e
}

func (t *table) nextGeneration() uint32 {
	t.last++
	return t.last
}

func (t *table) Interest(fd int) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.get(fd).interest
}

func (t *table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}
