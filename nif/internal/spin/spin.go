package spin

// history is how many gaps are remembered. It is small so that a policy follows a change of
// load within a few sleeps, and more than one so that a single late task does not end the
// spinning of a loop that is under load.
const history = 4

// Policy is the adaptive bound of one thread. It is pure arithmetic: the caller measures. It
// is not safe for concurrent use. Its zero value never spins; see [New].
//
// A gap is the time from running out of work to the arrival of more. A gap longer than max
// says that spinning for it would have been in vain; when all the gaps remembered are of that
// kind, the budget is 0 and the thread sleeps at once. Because a gap is measured in the same
// way when the thread slept, work that comes quickly again is noticed without a spin for
// probing.
type Policy struct {
	max  int64
	gaps [history]int64
	next int
}

// ceiling keeps the arithmetic from overflowing; at one second nobody would call it spinning.
const ceiling = 1_000_000_000

// New returns a policy that spins at most maximum nanoseconds per gap, and a second at most;
// with 0 or less it never spins. A policy that has observed nothing yet does not spin.
func New(maximum int64) Policy {
	p := Policy{max: min(maximum, ceiling)}
	p.Reset()
	return p
}

// Reset forgets what was observed.
func (p *Policy) Reset() {
	for i := range p.gaps {
		p.gaps[i] = p.max + 1
	}
}

// Observe tells the length of the last gap in nanoseconds, whether it was spent spinning or
// asleep.
func (p *Policy) Observe(gap int64) {
	p.gaps[p.next] = gap
	p.next = (p.next + 1) % history
}

// Budget is how many nanoseconds to spin in the gap that begins now, from 0 to max.
//
// Half of the gaps remembered, or the last one alone, must have been short. Then it is twice
// the longest of the short ones, for gaps vary, and a spin that ends just before the work
// comes costs the most.
func (p *Policy) Budget() int64 {
	if p.max <= 0 {
		return 0
	}
	short, longest := 0, int64(0)
	for _, gap := range p.gaps {
		if gap <= p.max {
			short++
			longest = max(longest, gap)
		}
	}
	last := p.gaps[(p.next+history-1)%history]
	if short < history/2 && last > p.max {
		return 0
	}
	return min(p.max, max(2*longest, p.max/history))
}
