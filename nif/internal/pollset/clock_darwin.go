package pollset

import "time"

// systemMonotonic would be mach_absolute_time, in Go as in Python; x/sys does not offer
// it, and without the absolute value only differences of Now mean anything.
func systemMonotonic() int64 { return int64(time.Since(processStart)) }

var processStart = time.Now()
