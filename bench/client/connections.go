package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

type connection struct {
	net.Conn
	reader *bufio.Reader
	out    []byte
	in     []byte
}

// runConnections has a goroutine for each connection: for TLS and HTTP, where the servers need much longer for a
// request than Go does.
func runConnections(given options, dial func(options) (net.Conn, error),
	exchange func(*connection) error) (figures, error) {
	all := make([]*connection, given.connections)
	for i := range all {
		conn, err := dial(given)
		if err != nil {
			return figures{}, err
		}
		defer conn.Close()
		all[i] = &connection{
			Conn:   conn,
			reader: bufio.NewReader(conn),
			out:    bytes.Repeat([]byte("e"), given.size),
			in:     make([]byte, given.size),
		}
	}
	merged := newSamples(given.duration)
	var lock sync.Mutex
	var failure error
	var group sync.WaitGroup
	for _, c := range all {
		group.Add(1)
		go func() {
			defer group.Done()
			own := samples{from: merged.from, until: merged.until}
			err := c.repeat(&own, exchange)
			lock.Lock()
			defer lock.Unlock()
			merged.taken = append(merged.taken, own.taken...)
			merged.all += own.all
			if err != nil {
				failure = err
			}
		}()
	}
	group.Wait()
	if failure != nil {
		return figures{}, failure
	}
	return merged.figures()
}

func (c *connection) repeat(own *samples, exchange func(*connection) error) error {
	for {
		begin := time.Now()
		if own.over(begin) {
			return nil
		}
		if err := c.SetDeadline(begin.Add(silence)); err != nil {
			return err
		}
		if err := exchange(c); err != nil {
			return err
		}
		own.add(begin, time.Now())
	}
}

func dialTCP(given options) (net.Conn, error) { return net.Dial("tcp", given.address) }

// dialTLS trusts whoever answers: the certificate was made a moment ago for this run.
func dialTLS(given options) (net.Conn, error) {
	return tls.Dial("tcp", given.address, &tls.Config{InsecureSkipVerify: true})
}

func exchangeEcho(c *connection) error {
	if _, err := c.Write(c.out); err != nil {
		return err
	}
	if _, err := io.ReadFull(c.reader, c.in); err != nil {
		return err
	}
	if !bytes.Equal(c.in, c.out) {
		return fmt.Errorf("the answer differs")
	}
	return nil
}

var httpRequest = []byte("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

func exchangeHTTP(c *connection) error {
	if _, err := c.Write(httpRequest); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != 200 || string(body) != "hello" {
		return fmt.Errorf("status %d, body %q", response.StatusCode, body)
	}
	return response.Body.Close()
}
