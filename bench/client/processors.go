package main

import (
	"runtime"
	"sync/atomic"
	"time"
)

// exchanges is how often two threads pass a word to and fro, some milliseconds of work.
const exchanges = 50_000

// roundTrip is how many nanoseconds a word takes from one processor to another and back: what every hand-over between
// two threads is made of. On a virtual machine it depends on where the host happens to run the two processors, can
// change from one second to the next, and by a factor of five. It is 0 on a machine with one processor.
func roundTrip() float64 {
	if runtime.NumCPU() < 2 {
		return 0
	}
	runtime.GOMAXPROCS(2)
	var turn atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		pass(&turn, 1, 0)
	}()
	begin := time.Now()
	pass(&turn, 0, 1)
	<-done
	return float64(time.Since(begin).Nanoseconds()) / exchanges
}

func pass(turn *atomic.Int32, mine, other int32) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range exchanges {
		for turn.Load() != mine {
		}
		turn.Store(other)
	}
}
