module erlang_python/nif

go 1.24.0

// Only for a Go that is older: 1.21 to 1.23 fetch this one.
toolchain go1.24.13

require golang.org/x/sys v0.41.0
