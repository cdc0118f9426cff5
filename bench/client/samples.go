package main

import (
	"fmt"
	"slices"
	"time"
)

// warmUp is how much of the time goes by before a request counts.
const warmUp = 0.2

// samples are the durations of the requests that began after the warm-up.
type samples struct {
	from, until time.Time
	taken       []int64
	all         int // with those of the warm-up
}

func newSamples(duration time.Duration) *samples {
	now := time.Now()
	return &samples{
		from:  now.Add(time.Duration(float64(duration) * warmUp)),
		until: now.Add(duration),
		taken: make([]int64, 0, 1<<20),
	}
}

func (s *samples) add(begin, end time.Time) {
	s.all++
	if begin.After(s.from) {
		s.taken = append(s.taken, int64(end.Sub(begin)))
	}
}

func (s *samples) over(now time.Time) bool { return now.After(s.until) }

func (s *samples) figures() (figures, error) {
	if len(s.taken) == 0 {
		return figures{}, fmt.Errorf("no request was answered")
	}
	slices.Sort(s.taken)
	quantile := func(share float64) float64 {
		index := min(int(share*float64(len(s.taken))), len(s.taken)-1)
		return float64(s.taken[index]) / 1000
	}
	return figures{
		Requests: len(s.taken),
		Seconds:  s.until.Sub(s.from).Seconds(),
		All:      s.all,
		P50:      quantile(0.50),
		P99:      quantile(0.99),
	}, nil
}
