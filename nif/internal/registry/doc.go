// Package registry gives objects numbers that may leave Go: a handle in a term, in a Python
// integer or in a C struct is looked up here and never dereferenced. A handle is never
// issued twice, so one that outlived its object finds nothing instead of a stranger.
package registry
