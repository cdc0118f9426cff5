package pollset

// blocker is what the systems' sets differ in.
type blocker interface {
	sleep(timeoutNs int64) (ready, woken bool, err error)
	harvest(events []Event) (int, error)
}

// block sleeps until there are events, a wake-up, or the time is over.
func block(s blocker, waker Waker, events []Event, timeoutNs int64) (int, bool, error) {
	deadline := Deadline(timeoutNs)
	woken := false
	for {
		ready, wakeUp, err := s.sleep(Until(deadline))
		if err != nil {
			return 0, false, err
		}
		if wakeUp {
			waker.Drain()
			woken = true
		}
		if ready {
			if n, err := s.harvest(events); n > 0 || err != nil {
				return n, woken, err
			}
		}
		if woken || Until(deadline) == 0 {
			return 0, woken, nil
		}
	}
}
