package main

/*
#include "loop_ready.h"
*/
import "C"

import (
	"errors"
	"syscall"

	"erlang_python/nif/internal/pollset"
	"erlang_python/nif/internal/spin"
)

// loopLookInterval bounds how long, in nanoseconds, a stream of tasks may keep a loop from looking at its poll set.
const loopLookInterval = 50_000

// freshLook is how long, in nanoseconds, a look at the poll set makes another one before a sleep pointless.
const freshLook = 5_000

// staleRetry, in nanoseconds, is between two attempts to replace a poll set for which there was no descriptor.
const staleRetry = 1_000_000

// eagerLooks is after how many looks that found nothing a loop blocks without one, which costs a system call. With a few
// descriptors, what they will bring comes later than the loop is done with what they brought.
const eagerLooks = 8

// longestLinger bounds, in nanoseconds, how long a loop waits by itself although it has been idle for its linger: parking
// and being woken costs several messages and system calls, which a gap that is about to end is not worth.
const longestLinger = 20_000_000

// waiting is the part of a loop that belongs to the thread that waits on it.
type waiting struct {
	spin    spin.Policy
	linger  spin.Policy // how long recent sleeps were
	events  []pollset.Event
	batch   []*loopTask
	began   int64 // when the batch that runs was handed out, 0 when none runs
	workEnd int64 // when the last batch ended
	average int64 // recent nanoseconds of a turn for each of its tasks
	// batchAverage is recent nanoseconds of a task itself.
	batchAverage int64
	precise      bool // the thread's timers were made precise
	eager        int  // looks that are left before the loop blocks without one
}

func newWaiting() waiting {
	return waiting{
		spin:   spin.New(spinLimit),
		linger: spin.New(longestLinger),
		events: make([]pollset.Event, C.LOOP_EVENTS),
		batch:  make([]*loopTask, 0, C.LOOP_TASKS),
	}
}

// pendingWork tells whether a wait would return at once, poll set aside.
func (l *eventLoop) pendingWork() bool {
	return !l.queue.Empty() || l.waker.Notified() || l.cancelCount.Load() > 0 || l.stopping.Load() || l.closed.Load()
}

// wait fills ready with what there is to do, waiting until deadline (monotonic nanoseconds; 0 not at all, negative for
// ever).
func (l *eventLoop) wait(ready *C.loop_ready, deadline int64) C.int {
	ready.event_count, ready.task_count, ready.cancel_count = 0, 0, 0
	l.endBatch(int64(ready.ran_until))
	ready.ran_until = 0
	if !l.precise {
		l.precise = true
		_ = pollset.PreciseTimers()
	}
	for spun := false; ; {
		status, found := l.collect(ready, deadline)
		if found {
			return status
		}
		if !spun {
			spun = true
			if l.spinFor(deadline) {
				continue
			}
		}
		if err := l.sleep(ready, deadline); err != nil {
			return errorStatus(err)
		}
	}
}

// collect gathers without waiting; events of the sleep before it are in ready already.
func (l *eventLoop) collect(ready *C.loop_ready, deadline int64) (status C.int, found bool) {
	if l.closed.Load() {
		return -C.int(syscall.EBADF), true
	}
	// Before cancellations are taken, whose tasks may be among these.
	ready.cancelling = C.bool(l.cancelKeys.Load() > 0)
	l.takeTasks(ready, deadline != 0)
	l.takeCancels(ready)
	now := pollset.Now()
	l.cameBack.Store(now)
	if ready.event_count == 0 && (deadline == 0 || l.overdue(ready, now)) {
		// Tasks that were taken are handed out first: the next look fails again.
		if err := l.look(ready); err != nil && ready.task_count == 0 && ready.cancel_count == 0 {
			return errorStatus(err), true
		}
	}
	woken := l.waker.TakeNotified()
	ready.stop = C.bool(l.stopping.Load() && l.stopping.Swap(false))
	switch {
	case woken || bool(ready.stop):
		return C.LOOP_WOKEN, true
	case deadline == 0 || deadline > 0 && now >= deadline:
		return C.LOOP_TIMEOUT, true
	case ready.task_count > 0 || ready.cancel_count > 0 || ready.event_count > 0:
		return C.LOOP_READY, true
	}
	return 0, false
}

// overdue tells whether tasks, or a spin for them, must not go on without a look at the poll set.
func (l *eventLoop) overdue(ready *C.loop_ready, now int64) bool {
	return now-l.looked.Load() > loopLookInterval &&
		(ready.task_count > 0 || ready.cancel_count > 0 || l.spin.Budget() > 0)
}

func errorStatus(err error) C.int {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return -C.int(errno)
	}
	return -C.int(syscall.EIO)
}

// takeTasks hands out a batch, and may offer its processor before. A look does not, because its thread may hold the GIL.
func (l *eventLoop) takeTasks(ready *C.loop_ready, waiting bool) {
	// Whoever destroyed the loop answers for what is queued.
	if l.queue.Empty() || l.destroyed.Load() {
		return
	}
	if waiting && len(l.batch) > 1 {
		l.gather()
	}
	l.batch = l.queue.Take(l.batch[:0], l.batchSize())
	for i, t := range l.batch {
		ready.tasks[i] = (*C.task)(t)
	}
	ready.task_count = C.int32_t(len(l.batch))
	l.taken.Add(uint64(len(l.batch)))
	if len(l.batch) > 0 {
		l.batches.Add(1)
		l.began = pollset.Now()
		if l.workEnd != 0 {
			l.spin.Observe(l.began - l.workEnd)
		}
	}
}

// batchTime is how long, in nanoseconds, a batch of slow tasks may take: timers and descriptors wait for its end.
const batchTime = 2_000_000

// batchSize is how many tasks are run in one hold of the GIL.
func (l *eventLoop) batchSize() int {
	if l.batchAverage*C.LOOP_TASKS <= batchTime {
		return C.LOOP_TASKS
	}
	return max(1, int(batchTime/l.batchAverage))
}

// gatherLimit bounds, in nanoseconds, how long tasks wait for more that are on their way; gatherPatience is how many
// looks may find no more, since what gets the processor first need not be one of those who submit.
const (
	gatherLimit    = 20_000
	gatherPatience = 2
)

// gather lets the processes that submit get further before what they submitted is run, as long as they do.
func (l *eventLoop) gather() {
	end := pollset.Now() + gatherLimit
	patience := gatherPatience
	for n := l.queue.Len(); n < C.LOOP_TASKS && patience > 0 && pollset.Now() < end; {
		spin.Yield()
		more := l.queue.Len()
		if more == n {
			patience--
		}
		n = more
	}
}

// endBatch measures the batch that the last wait handed out, which had run at the time ran (0: not known), and the turn
// of the loop, to which handles belong that are no tasks.
func (l *eventLoop) endBatch(ran int64) {
	if l.began == 0 {
		return
	}
	l.workEnd = pollset.Now()
	if ran == 0 {
		ran = l.workEnd
	}
	took := (ran - l.began) / int64(len(l.batch))
	l.batchAverage = (l.batchAverage*7 + took) / 8
	l.average = (l.average*7 + (l.workEnd-l.began)/int64(len(l.batch))) / 8
	if quick := isQuick(l.average); quick != l.quick.Load() {
		l.quick.Store(quick)
	}
	l.done.Add(uint64(len(l.batch)))
	l.began = 0
}

// look harvests the poll set without waiting.
func (l *eventLoop) look(ready *C.loop_ready) error {
	n, _, err := l.set.Wait(l.events, 0)
	if n > 0 {
		l.eager = eagerLooks
	} else if l.eager > 0 {
		l.eager--
	}
	return l.harvested(ready, n, err, false)
}

// block waits in the poll set up to timeout nanoseconds (negative: for ever) from now on, the monotonic time.
func (l *eventLoop) block(ready *C.loop_ready, timeout, now int64) error {
	if timeout == 0 {
		return l.look(ready)
	}
	if l.eager > 0 && now-l.looked.Load() > freshLook {
		if err := l.look(ready); err != nil || ready.event_count > 0 {
			return err
		}
	}
	n, _, err := l.set.Block(l.events, timeout)
	if n > 0 && pollset.Now()-now < freshLook {
		l.eager = eagerLooks
	}
	return l.harvested(ready, n, err, true)
}

// harvested hands out the n events that the set has found, in a look or in a wait. Its time is when the set was last
// looked at.
func (l *eventLoop) harvested(ready *C.loop_ready, n int, err error, waited bool) error {
	l.looked.Store(pollset.Now())
	ready.eager = l.eager > 0
	if err == pollset.ErrStale {
		err = l.rebuildSet()
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			// What is ready is still found, so the loop goes on, and tries again at its next look, which it must not
			// do without a pause: the set that it has is ready all the time.
			err = nil
			if n == 0 && waited {
				_, _ = l.waker.Sleep(staleRetry)
			}
		}
	}
	if err != nil {
		return err
	}
	for i, event := range l.events[:n] {
		ready.events[i] = C.loop_event{fd: C.int32_t(event.Fd), mask: C.uint32_t(event.Mask)}
	}
	ready.event_count = C.int32_t(n)
	if n > 0 {
		l.reported.Add(uint64(n))
	}
	return nil
}

// spinFor waits a little for tasks without the system's help: true when there is something to collect.
func (l *eventLoop) spinFor(deadline int64) bool {
	budget := l.spin.Budget()
	if budget <= 0 {
		return false
	}
	end := pollset.Now() + budget
	if deadline > 0 && deadline < end {
		end = deadline
	}
	return spin.Until(end, func() bool { return !l.queue.Empty() }) || l.pendingWork()
}

// lingering is for how many nanoseconds the loop waits by itself before it parks: event_loop_linger_us, or more while
// its sleeps are short. With 0 it always parks at once.
func (l *eventLoop) lingering() int64 {
	configured := loopLinger.Load()
	if configured == 0 {
		return 1
	}
	return max(configured, l.linger.Budget())
}

// sleep waits in the poll set for the linger, and then lets the BEAM wait.
func (l *eventLoop) sleep(ready *C.loop_ready, deadline int64) error {
	began := pollset.Now()
	timeout := pollset.Forever
	if deadline > 0 {
		timeout = max(deadline-began, 0)
	}
	l.awake.Store(false)
	l.waker.Prepare()
	defer func() {
		l.waker.Clear()
		awoke := pollset.Now()
		l.linger.Observe(awoke - began)
		l.cameBack.Store(awoke)
		l.awake.Store(true)
	}()
	if l.pendingWork() {
		return l.look(ready)
	}
	linger := l.lingering()
	if timeout < linger+parkMinimum {
		return l.block(ready, timeout, began)
	}
	if err := l.block(ready, linger, began); err != nil || ready.event_count > 0 || !l.waker.Sleeping() {
		return err
	}
	if l.park(deadline) {
		return nil
	}
	// With nobody to watch the poll set the thread waits itself.
	now := pollset.Now()
	if timeout == pollset.Forever {
		timeout = -1
	} else {
		timeout = max(deadline-now, 0)
	}
	return l.block(ready, timeout, now)
}
