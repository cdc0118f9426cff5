package main

/*
#cgo CFLAGS: -std=gnu11 -Wall -Wextra -Wno-unused-parameter
#cgo linux LDFLAGS: -ldl -lpthread -lm
*/
import "C"
