// Client puts load on the servers of bench_loop.py: every connection sends a message, waits for the answer, and sends
// the next. It runs as a process of its own, so that all servers meet the same client.
//
//	client tcp|udp|tls|http -address 127.0.0.1:PORT -connections 50 -seconds 2 -size 1024
//	client serve          a TCP echo server that shows what the client itself can do; prints its port
//	client certificate -folder DIR     writes cert.pem and key.pem for 127.0.0.1
//	client processors     prints how many nanoseconds a word takes to another processor and back
//
// It prints one JSON object: requests and seconds after the warm-up, all requests, and p50_us and p99_us of the time
// from a message to its answer. A wrong answer, or none for some seconds, is a failure with exit status 1.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"
)

type options struct {
	address     string
	connections int
	duration    time.Duration
	size        int
	folder      string
}

type figures struct {
	Requests int     `json:"requests"`
	Seconds  float64 `json:"seconds"`
	All      int     `json:"all"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) < 2 {
		return fmt.Errorf("usage: client tcp|udp|tls|http|serve|certificate|processors [options]")
	}
	var given options
	set := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	set.StringVar(&given.address, "address", "127.0.0.1:0", "of the server")
	set.IntVar(&given.connections, "connections", 1, "number of connections")
	set.DurationVar(&given.duration, "duration", time.Second, "how long")
	set.IntVar(&given.size, "size", 1024, "bytes of a message")
	set.StringVar(&given.folder, "folder", ".", "for the certificate")
	if err := set.Parse(os.Args[2:]); err != nil {
		return err
	}
	if os.Args[1] == "processors" {
		_, err := fmt.Println(roundTrip())
		return err
	}
	// The servers have one thread of Python; another one of the client must not take its processor.
	runtime.GOMAXPROCS(1)
	var result figures
	var err error
	switch os.Args[1] {
	case "tcp", "udp":
		result, err = runRaw(os.Args[1], given)
	case "tls":
		result, err = runConnections(given, dialTLS, exchangeEcho)
	case "http":
		result, err = runConnections(given, dialTCP, exchangeHTTP)
	case "serve":
		return serve(given)
	case "certificate":
		return writeCertificate(given.folder)
	default:
		return fmt.Errorf("unknown mode %q", os.Args[1])
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
