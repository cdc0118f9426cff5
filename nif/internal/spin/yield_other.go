//go:build !linux

package spin

import "runtime"

// A goroutine that is locked to its thread, as all that spin are, costs two changes of threads each time.
const yieldInterval = 20_000

// Yield lets another goroutine run.
func Yield() { runtime.Gosched() }
