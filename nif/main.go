// Command nif is the Go core of erlang_python, built with -buildmode=c-shared into libpy_core and loaded by the NIF
// library of the Erlang module py_nif (c_src/shim.c).
//
// Files named after a thing hold that thing: load.go the entry of the library, runtime.go Python's start and its main
// thread, context*.go the contexts of module py, loop*.go the event loops, task.go the requests that both of them run.
// Every //export recovers a panic into an Erlang error (recover.go). Leaf C lies beside: conversion, running a batch
// of tasks and the Python types, where a cgo crossing per element would dominate or CPython wants C.
package main

func main() {}
