package main

import (
	"sync"
	"unsafe"
)

// jobThread is a Python thread that does jobs for threads that must not: those that may not wait for the GIL, or not run
// the code of others. It is started with the first job and lives as long as Python.
type jobThread struct {
	stackSize int64
	limit     int // of jobs that wait, 0 for none; what comes beyond it is not done

	mu      sync.Mutex
	ready   *sync.Cond
	started bool
	jobs    []func(state unsafe.Pointer)
}

func newJobThread(stackSize int64, limit int) *jobThread {
	j := &jobThread{stackSize: stackSize, limit: limit}
	j.ready = sync.NewCond(&j.mu)
	return j
}

// do has the thread run a job with its PyThreadState, detached, soon. Any thread, with or without the GIL.
func (j *jobThread) do(job func(state unsafe.Pointer)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.started {
		if _, err := startThread(j.stackSize, j.run); err != nil {
			logEvent(err.Error())
		} else {
			j.started = true
		}
	}
	if j.limit > 0 && len(j.jobs) >= j.limit {
		return
	}
	j.jobs = append(j.jobs, job)
	j.ready.Signal()
}

func (j *jobThread) run(thread *pythonThread) {
	if err := thread.attach(); err != nil {
		logEvent(err.Error())
		return
	}
	for {
		for _, job := range j.take() {
			runJob(func() { job(thread.state) })
		}
	}
}

// take waits for jobs.
func (j *jobThread) take() []func(unsafe.Pointer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.jobs) == 0 {
		j.ready.Wait()
	}
	jobs := j.jobs
	j.jobs = nil
	return jobs
}

// interrupts raises exceptions in other threads. It takes the GIL for that, and may wait long for it when a C function
// keeps it. What a thread that nobody lets run was asked more often than the limit is dropped.
var interrupts = newJobThread(8<<20, 1024)

// errands runs what may be anybody's Python code, which need not come back: destructors of objects that are given up, and
// methods of loops that are not ours.
var errands = newJobThread(64<<20, 0)
