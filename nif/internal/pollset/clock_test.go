package pollset

import (
	"math"
	"testing"
	"time"
)

func TestNowIsTheSystemsMonotonicClock(t *testing.T) {
	for range 1000 {
		before := systemMonotonic()
		now := Now()
		after := systemMonotonic()
		// Never ahead, so that no deadline is reached early; behind by what one reading costs.
		if now > after || now < before-int64(100*time.Microsecond) {
			t.Fatalf("%d is not between %d and %d", now, before, after)
		}
	}
}

func TestDeadlineAndUntil(t *testing.T) {
	if Deadline(-1) != Forever || Deadline(math.MaxInt64) != Forever {
		t.Fatal("what never comes has a time")
	}
	if Until(Forever) != -1 || Until(Now()-1) != 0 || Until(math.MinInt64) != 0 {
		t.Fatal("timeouts at the ends of the range")
	}
	d := Deadline(int64(time.Hour))
	if left := Until(d); left <= int64(59*time.Minute) || left > int64(time.Hour) {
		t.Fatalf("an hour is %v", time.Duration(left))
	}
}

func TestFromSecondsRoundsUp(t *testing.T) {
	for seconds, want := range map[float64]int64{
		0: 0, -1: 0, math.Inf(-1): 0, 1e-10: 1, 1e-9: 1, 0.5: 500_000_000, 1.5e-9: 2,
		2147483.648 * 1000: 2147483648000000000, math.Inf(1): Forever, 1e300: Forever,
	} {
		if got := FromSeconds(seconds); got != want {
			t.Errorf("%g s: %d ns, want %d", seconds, got, want)
		}
	}
	if got := FromSeconds(math.NaN()); got != 0 {
		t.Errorf("NaN: %d", got)
	}
}

func FuzzFromSecondsIsNeverEarly(f *testing.F) {
	f.Add(0.1)
	f.Add(1e-9)
	f.Add(9.2e9)
	f.Fuzz(func(t *testing.T, seconds float64) {
		ns := FromSeconds(seconds)
		if ns < 0 {
			t.Fatalf("%g: %d", seconds, ns)
		}
		if product := seconds * 1e9; product > 0 && product < float64(Forever) &&
			(float64(ns) < product || float64(ns) > math.Nextafter(product, math.Inf(1))+1) {
			t.Fatalf("%g s: %d ns", seconds, ns)
		}
	})
}
