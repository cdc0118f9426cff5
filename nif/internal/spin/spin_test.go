package spin

import "testing"

const limit = 100_000

func observed(gaps ...int64) *Policy {
	p := New(limit)
	for _, gap := range gaps {
		p.Observe(gap)
	}
	return &p
}

func TestBudget(t *testing.T) {
	const long = 10 * limit
	for _, c := range []struct {
		name string
		gaps []int64
		want int64
	}{
		{"nothing known", nil, 0},
		{"idle", []int64{long, long, long, long}, 0},
		{"one short gap starts it", []int64{long, long, long, 30_000}, 60_000},
		{"a stray short gap is forgotten", []int64{30_000, long}, 0},
		{"one long gap under load does not end it", []int64{20_000, 30_000, 25_000, long}, 60_000},
		{"three long gaps do", []int64{20_000, long, long, long}, 0},
		{"twice the longest short gap", []int64{1_000, 40_000, 2_000, 3_000}, 80_000},
		{"never above the limit", []int64{90_000, 90_000}, limit},
		{"tiny gaps leave room for variance", []int64{1, 1, 1, 1}, limit / history},
		{"the limit itself is short", []int64{limit}, limit},
	} {
		if got := observed(c.gaps...).Budget(); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestDisabled(t *testing.T) {
	var zero Policy
	off := New(0)
	for _, p := range []*Policy{&zero, &off} {
		p.Observe(0)
		if p.Budget() != 0 {
			t.Fatal("spins although it is off")
		}
	}
}

func TestReset(t *testing.T) {
	p := observed(10, 10, 10, 10)
	p.Reset()
	if p.Budget() != 0 {
		t.Fatal("remembers")
	}
}

// A thread that becomes idle after load spins a few times in all, not once per wake-up for
// ever.
func TestIdleCostIsBounded(t *testing.T) {
	p := observed(50_000, 50_000, 50_000, 50_000)
	total := int64(0)
	for range 1000 {
		total += p.Budget()
		p.Observe(1_000_000_000)
	}
	if total == 0 || total > history*limit {
		t.Fatalf("%d ns of spinning after the load ended", total)
	}
}

func FuzzBudgetIsBounded(f *testing.F) {
	f.Add(int64(100_000), int64(5), int64(1<<62))
	f.Add(int64(-1), int64(-5), int64(0))
	f.Fuzz(func(t *testing.T, maximum, a, b int64) {
		p := New(maximum)
		for _, gap := range []int64{a, b, b, a, a} {
			p.Observe(gap)
			if got := p.Budget(); got < 0 || got > max(0, maximum) {
				t.Fatalf("budget %d with a limit of %d", got, maximum)
			}
		}
	})
}

func BenchmarkObserveBudget(b *testing.B) {
	p := New(limit)
	for b.Loop() {
		p.Observe(p.Budget() / 3)
	}
}
