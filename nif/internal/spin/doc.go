// Package spin decides how long a thread that ran out of work looks for more before it
// sleeps. Sleeping and being woken costs tens of microseconds; spinning costs a core. It pays
// when work is known to come within the time that a sleep would cost anyway. An event loop
// decides in the same way for how long it waits by itself before the BEAM waits for it.
package spin
