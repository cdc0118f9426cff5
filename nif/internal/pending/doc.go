// Package pending collects the events of a loop that no thread of the core drives: readiness
// and timers arrive from the BEAM, and a process asks for them with get_pending or poll_events.
package pending
