package spin

import (
	"sync/atomic"
	"testing"
	"time"

	"erlang_python/nif/internal/pollset"
)

func TestUntilSeesWhatAnotherThreadDoes(t *testing.T) {
	var flag atomic.Bool
	go func() {
		time.Sleep(time.Millisecond)
		flag.Store(true)
	}()
	if !Until(pollset.Now()+int64(10*time.Second), flag.Load) {
		t.Fatal("the spin ended without it")
	}
}

func TestUntilEnds(t *testing.T) {
	begin := pollset.Now()
	if Until(begin+1_000_000, func() bool { return false }) {
		t.Fatal("nothing was ready")
	}
	if took := pollset.Now() - begin; took < 1_000_000 {
		t.Fatalf("ended after %d ns", took)
	}
}

func TestUntilDoesNotLookAfterTheEnd(t *testing.T) {
	if Until(0, func() bool { t.Fatal("looked"); return true }) {
		t.Fatal("true after the end")
	}
}
