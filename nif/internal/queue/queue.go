package queue

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

// ErrClosed is returned by Push once Close has been called. It is final.
var ErrClosed = errors.New("queue: closed")

// ErrFull is returned by Push while the queue holds as many elements as its limit allows.
var ErrFull = errors.New("queue: full")

// Link is the queue's part of an element of type T. Embed it in T; [Linked] is then
// satisfied by *T. It belongs to the queue from Push until the element is returned by Take
// or Close, so an element is in at most one queue at a time.
type Link[T any] struct {
	next *T
}

// QueueLink gives the queue access to the embedded link.
func (l *Link[T]) QueueLink() *Link[T] { return l }

// set writes only what changes: elements that travel alone keep their link nil, and its cache
// line stays with all threads that read it.
func (l *Link[T]) set(next *T) {
	if l.next != next {
		l.next = next
	}
}

// Linked is what an element pointer has to satisfy: embedding [Link] is enough. A type laid
// over C memory implements QueueLink itself.
type Linked[T any] interface {
	*T
	QueueLink() *Link[T]
}

// Queue is a multi-producer single-consumer queue in FIFO order. Use [New].
//
// The state is one word, head:
//
//	        push: CAS                take: CAS
//	nil ──────────────▶ newest ─▶ … ─▶ oldest ──────────────▶ nil
//	 │                    │
//	 └──── Close ────────┴──▶ closed (final)
//
// head is the newest element of a list linked towards the oldest one. Push puts an element
// in front; Take replaces the whole list by nil and turns it around into `rest`, where the
// part that did not fit into the caller's batch waits for the next Take. Close puts the
// address of a sentinel there, after which no CAS of a pusher can succeed: a racing push
// either came before that step, and its element is in the list that Close got, or it sees
// the sentinel and fails. Nothing is lost and nothing appears later.
//
// An element that is pushed, taken and pushed again while another push is between its load
// and its CAS (ABA) does no harm: the stalled push only needs head to be the value it has
// put into its own link.
//
// rest is guarded by a mutex so that Close may come from any thread; the mutex is taken
// once per batch, not per element, and nothing is called while it is held.
type Queue[T any, P Linked[T]] struct {
	*Shared
	sentinel *T // what Shared.closed points to

	mu       sync.Mutex
	rest     *T
	restTail *T
	left     atomic.Int64
}

// lineSize is that of a cache line. Go's allocator aligns a structure whose size is a small
// multiple of it to it.
const lineSize = 64

// Shared is the part of a queue that pushers use, with a cache line for what they fight for
// and one for what everybody only reads. Pushers in C use it too, with the layout of task_queue
// in nif/task_queue.h, for elements laid over C memory; such a Shared has to be pinned.
type Shared struct {
	head   unsafe.Pointer
	length int64
	_      [lineSize - 16]byte

	limit  int64
	closed unsafe.Pointer // what head is when the queue is closed
	_      [lineSize - 16]byte
}

// Offsets of the fields of a Shared, for the check that C means the same.
const (
	HeadOffset   = unsafe.Offsetof(Shared{}.head)
	LengthOffset = unsafe.Offsetof(Shared{}.length)
	LimitOffset  = unsafe.Offsetof(Shared{}.limit)
	ClosedOffset = unsafe.Offsetof(Shared{}.closed)
)

func (s *Shared) load() unsafe.Pointer { return atomic.LoadPointer(&s.head) }

func (s *Shared) compareAndSwap(from, to unsafe.Pointer) bool {
	return atomic.CompareAndSwapPointer(&s.head, from, to)
}

// New returns an empty queue that holds at most limit elements; a limit of 0 or less means
// no bound. Elements count from Push until Take or Close returns them.
func New[T any, P Linked[T]](limit int) *Queue[T, P] {
	return NewOn[T, P](&Shared{}, limit)
}

// NewOn is New with memory of the caller's for the part that pushers use. It must be zero.
func NewOn[T any, P Linked[T]](shared *Shared, limit int) *Queue[T, P] {
	sentinel := new(T)
	shared.limit = int64(limit)
	shared.closed = unsafe.Pointer(sentinel)
	return &Queue[T, P]{Shared: shared, sentinel: sentinel}
}

// Pin keeps what the Shared of the queue points to where it is, for pushers in C.
func (q *Queue[T, P]) Pin(pinner *runtime.Pinner) { pinner.Pin(q.sentinel) }

// Push appends x. It never blocks and may be called from any thread. Afterwards x belongs
// to the consumer; on an error (ErrClosed, ErrFull) it still belongs to the caller.
func (q *Queue[T, P]) Push(x *T) error {
	if q.load() == q.closed {
		return ErrClosed
	}
	if !q.reserve() {
		return ErrFull
	}
	link := P(x).QueueLink()
	for {
		head := q.load()
		if head == q.closed {
			link.set(nil)
			atomic.AddInt64(&q.length, -1)
			return ErrClosed
		}
		link.set((*T)(head))
		if q.compareAndSwap(head, unsafe.Pointer(x)) {
			return nil
		}
	}
}

// reserve counts an element before it becomes visible, so that the count never falls below
// zero. It never overshoots the limit: an overshoot that is taken back could make another
// push fail although there was room.
func (q *Queue[T, P]) reserve() bool {
	if q.limit <= 0 {
		atomic.AddInt64(&q.length, 1)
		return true
	}
	for {
		n := atomic.LoadInt64(&q.length)
		if n >= q.limit {
			return false
		}
		if atomic.CompareAndSwapInt64(&q.length, n, n+1) {
			return true
		}
	}
}

// Take appends up to max elements to buf, oldest first, and returns the extended slice; a
// max of 0 or less means all. Only the consumer calls it. What exceeds max stays queued for
// the next call: Empty goes on saying false, so a bounded batch is not a stall.
func (q *Queue[T, P]) Take(buf []*T, max int) []*T {
	if q.Empty() {
		return buf
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	start := len(buf)
	for max <= 0 || len(buf)-start < max {
		if q.rest == nil && !q.fetch() {
			break
		}
		x := q.rest
		link := P(x).QueueLink()
		q.rest = link.next
		link.set(nil)
		buf = append(buf, x)
	}
	if n := int64(len(buf) - start); n > 0 {
		q.left.Add(-n)
		atomic.AddInt64(&q.length, -n)
	}
	return buf
}

// fetch moves everything that was pushed to rest, oldest first.
func (q *Queue[T, P]) fetch() bool {
	for {
		head := q.load()
		if head == nil || head == q.closed {
			return false
		}
		if !q.compareAndSwap(head, nil) {
			continue
		}
		q.adopt((*T)(head))
		return true
	}
}

// adopt turns a list around and appends it to rest.
func (q *Queue[T, P]) adopt(newest *T) {
	var oldest *T
	n := int64(0)
	for x := newest; x != nil; n++ {
		link := P(x).QueueLink()
		next := link.next
		link.set(oldest)
		oldest, x = x, next
	}
	if q.rest == nil {
		q.rest = oldest
	} else {
		P(q.restTail).QueueLink().next = oldest
	}
	q.restTail = newest
	q.left.Add(n)
}

// Close makes every later Push fail with ErrClosed and returns what had been pushed and not
// taken, oldest first. It may be called from any thread and more than once; each element is
// returned exactly once.
func (q *Queue[T, P]) Close() []*T {
	q.mu.Lock()
	defer q.mu.Unlock()
	if head := atomic.SwapPointer(&q.head, q.closed); head != nil && head != q.closed {
		q.adopt((*T)(head))
	}
	var all []*T
	for x := q.rest; x != nil; {
		link := P(x).QueueLink()
		next := link.next
		link.set(nil)
		all = append(all, x)
		x = next
	}
	q.rest, q.restTail = nil, nil
	q.left.Add(-int64(len(all)))
	atomic.AddInt64(&q.length, -int64(len(all)))
	return all
}

// Closed tells whether Close has been called.
func (q *Queue[T, P]) Closed() bool { return q.load() == q.closed }

// Empty tells whether a Take would find nothing. It costs two loads and is meant to be
// polled. After a Push has returned it is false until that element has been taken, which is
// what a consumer that is about to sleep relies on.
func (q *Queue[T, P]) Empty() bool {
	// left is read after head: an element on its way from one to the other is missed only
	// by the thread that moves it, never by the consumer that asks between its own Takes.
	head := q.load()
	return (head == nil || head == q.closed) && q.left.Load() == 0
}

// Len is the number of elements that were pushed, or are just being pushed, and have not
// been taken.
func (q *Queue[T, P]) Len() int { return int(atomic.LoadInt64(&q.length)) }
