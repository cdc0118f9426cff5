package registry

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// A handle is generation<<indexBits | index. 28 + 31 bits make 59, the magnitude of a small
// integer in Erlang. Generations start at 1, so no handle is 0.
const (
	indexBits      = 28
	generationBits = 31
	maxSlots       = 1 << indexBits
	maxGeneration  = 1<<generationBits - 1
)

// Slots live in chunks of doubling size that never move, which is what lets Get do without
// a lock while the table grows.
const (
	firstChunkBits = 6
	chunkCount     = indexBits - firstChunkBits + 1
)

const noIndex = ^uint32(0)

// slot has two states: free (handle 0) and live (handle = the one that was issued). Add, by
// the thread that got the slot from the free list, takes it from free to live, value first.
// Remove takes it from live to free with a CAS that one caller wins; the winner clears the
// value and returns the slot to the free list with the next generation. A slot whose
// generations are used up is not returned.
type slot[T any] struct {
	handle atomic.Uint64
	value  atomic.Pointer[T]
	// Guarded by Registry.mu.
	generation uint32
	nextFree   uint32
}

// Registry maps handles to *T. Its zero value is not usable: see [New].
type Registry[T any] struct {
	chunks [chunkCount]atomic.Pointer[[]slot[T]]
	size   atomic.Uint32 // slots that exist
	live   atomic.Int64

	mu   sync.Mutex
	free uint32 // first free slot, linked through nextFree
}

// New returns an empty registry.
func New[T any]() *Registry[T] { return &Registry[T]{free: noIndex} }

// locate splits an index into a chunk number and an offset: chunk k>0 starts at index
// 1<<(firstChunkBits+k-1) and is as long as everything before it.
func locate(index uint32) (chunk int, offset uint32) {
	chunk = bits.Len32(index >> firstChunkBits)
	if chunk == 0 {
		return 0, index
	}
	return chunk, index - 1<<(firstChunkBits+chunk-1)
}

func chunkLen(chunk int) int {
	if chunk == 0 {
		return 1 << firstChunkBits
	}
	return 1 << (firstChunkBits + chunk - 1)
}

func (r *Registry[T]) slot(index uint32) *slot[T] {
	chunk, offset := locate(index)
	slots := r.chunks[chunk].Load()
	if slots == nil {
		return nil
	}
	return &(*slots)[offset]
}

// Add stores value, which must not be nil, and returns its handle: positive, below 1<<59
// and never issued before. It returns 0 only when 1<<28 slots are in use.
func (r *Registry[T]) Add(value *T) uint64 {
	r.mu.Lock()
	index, s := r.take()
	if s == nil {
		r.mu.Unlock()
		return 0
	}
	s.generation++
	handle := uint64(s.generation)<<indexBits | uint64(index)
	r.mu.Unlock()
	s.value.Store(value)
	r.live.Add(1)
	s.handle.Store(handle)
	return handle
}

// take gets a free slot or makes one. The caller holds mu.
func (r *Registry[T]) take() (uint32, *slot[T]) {
	if index := r.free; index != noIndex {
		s := r.slot(index)
		r.free = s.nextFree
		return index, s
	}
	index := r.size.Load()
	if index == maxSlots {
		return 0, nil
	}
	chunk, offset := locate(index)
	if offset == 0 {
		slots := make([]slot[T], chunkLen(chunk))
		r.chunks[chunk].Store(&slots)
	}
	r.size.Store(index + 1)
	return index, r.slot(index)
}

// Get returns the object of a handle, or nil when the handle was removed or never issued.
// It takes no lock. The object stays valid Go memory even if it is removed meanwhile;
// whether it may still be used is for its own state to say.
func (r *Registry[T]) Get(handle uint64) *T {
	s := r.lookup(handle)
	if s == nil {
		return nil
	}
	value := s.value.Load()
	// The slot may have changed hands between the two loads. A handle is live once in the
	// life of the process, so if it is live now it was so when the value was read.
	if s.handle.Load() != handle {
		return nil
	}
	return value
}

func (r *Registry[T]) lookup(handle uint64) *slot[T] {
	if handle == 0 || handle>>(indexBits+generationBits) != 0 {
		return nil
	}
	s := r.slot(uint32(handle & (maxSlots - 1)))
	if s == nil || s.handle.Load() != handle {
		return nil
	}
	return s
}

// Replace makes a handle that is live name another object; false when it is not live.
// No other Replace or Remove of that handle may run at the same time.
func (r *Registry[T]) Replace(handle uint64, value *T) bool {
	s := r.lookup(handle)
	if s == nil {
		return false
	}
	s.value.Store(value)
	return true
}

// Remove ends the life of a handle and returns its object. Among concurrent callers exactly
// one gets it; the others, and any call for a handle that is not live, get nil.
func (r *Registry[T]) Remove(handle uint64) *T {
	s := r.lookup(handle)
	if s == nil || !s.handle.CompareAndSwap(handle, 0) {
		return nil
	}
	value := s.value.Swap(nil)
	r.live.Add(-1)
	r.mu.Lock()
	if s.generation < maxGeneration {
		s.nextFree = r.free
		r.free = uint32(handle & (maxSlots - 1))
	}
	r.mu.Unlock()
	return value
}

// Len is the number of live handles.
func (r *Registry[T]) Len() int { return int(r.live.Load()) }

// Range calls f for the live handles, in no particular order, until f returns false. It holds
// no lock: f may add and remove; whether it sees what is added meanwhile is not specified.
func (r *Registry[T]) Range(f func(handle uint64, value *T) bool) {
	for index := range r.size.Load() {
		s := r.slot(index)
		handle := s.handle.Load()
		if handle == 0 {
			continue
		}
		if value := r.Get(handle); value != nil && !f(handle, value) {
			return
		}
	}
}
