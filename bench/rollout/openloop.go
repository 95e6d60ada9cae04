package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// openLoop sends requests at a fixed rate, whatever becomes of the answers: each has a time at which it is due, and its latency counts from
// then. So a server that answers nothing for a while has all the requests late that were due meanwhile, and not one of each connection.
type openLoop struct {
	address string
	// rate is requests a second.
	rate float64
	// connections bound how many are under way; what is due beyond waits, and the waiting counts.
	connections int

	mu      sync.Mutex
	samples []sample
	failed  int
	first   error
}

// sample is one request: when it was due, and how long after that it was answered.
type sample struct {
	due     time.Time
	latency time.Duration
}

// maxQueue is how many requests may wait for a connection; what is due beyond that fails: the rate is above what is possible.
const maxQueue = 1 << 20

// run sends until ctx ends.
func (l *openLoop) run(ctx context.Context) {
	due := make(chan time.Time, maxQueue)
	var workers sync.WaitGroup
	for range l.connections {
		workers.Go(func() { l.work(due) })
	}
	began := time.Now()
	for n := 0; ctx.Err() == nil; {
		for at := l.due(began, n); !at.After(time.Now()); at = l.due(began, n) {
			select {
			case due <- at:
			default:
				l.fail(errors.New("more requests are due than can wait"))
			}
			n++
		}
		time.Sleep(time.Until(l.due(began, n)))
	}
	close(due)
	workers.Wait()
}

func (l *openLoop) due(began time.Time, n int) time.Time {
	return began.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
}

func (l *openLoop) work(due <-chan time.Time) {
	var c *connection
	var mine []sample
	for at := range due {
		err := error(nil)
		if c == nil {
			c, err = connect(l.address)
		}
		if err == nil {
			err = c.ask()
		}
		if err != nil {
			l.fail(err)
			c.close()
			c = nil
			continue
		}
		mine = append(mine, sample{at, time.Since(at)})
	}
	c.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples = append(l.samples, mine...)
}

func (l *openLoop) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed++; l.failed == 1 {
		l.first = err
	}
}

// latencies of the requests that were due between two moments.
type latencies struct {
	// at is when the slowest was due.
	at                time.Time
	requests          int
	p50, p99, longest time.Duration
}

// between takes them after run has returned.
func (l *openLoop) between(from, to time.Time) latencies {
	var all []time.Duration
	var slowest sample
	for _, s := range l.samples {
		if !s.due.Before(from) && s.due.Before(to) {
			all = append(all, s.latency)
			if s.latency > slowest.latency {
				slowest = s
			}
		}
	}
	if len(all) == 0 {
		return latencies{}
	}
	slices.Sort(all)
	return latencies{slowest.due, len(all), all[len(all)/2], all[len(all)*99/100], slowest.latency}
}

// saturate is how many requests a second are answered when each connection sends the next one at once.
func saturate(address string, connections int, duration time.Duration) (float64, error) {
	var mu sync.Mutex
	var n int
	var failed error
	began := time.Now()
	var workers sync.WaitGroup
	for range connections {
		workers.Go(func() {
			c, err := connect(address)
			mine := 0
			for err == nil && time.Since(began) < duration {
				if err = c.ask(); err == nil {
					mine++
				}
			}
			c.close()
			mu.Lock()
			defer mu.Unlock()
			n += mine
			failed = errors.Join(failed, err)
		})
	}
	workers.Wait()
	return float64(n) / time.Since(began).Seconds(), failed
}

// connection is one of HTTP/1.1 that is asked the same again and again. The client must cost little: it shares the machine with what is measured.
type connection struct {
	conn   net.Conn
	buffer []byte
}

// answerTimeout is when a request counts as failed.
const answerTimeout = 10 * time.Second

func connect(address string) (*connection, error) {
	conn, err := net.DialTimeout("tcp", address, answerTimeout)
	if err != nil {
		return nil, err
	}
	return &connection{conn, make([]byte, 16<<10)}, nil
}

func (c *connection) close() {
	if c != nil {
		_ = c.conn.Close() // all that was asked is answered
	}
}

var request = []byte("GET / HTTP/1.1\r\nhost: bench\r\naccept: */*\r\n\r\n")

// ask sends one request and reads its answer, which must be 200 and say its length.
func (c *connection) ask() error {
	if err := c.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	have, size := 0, 0
	for size == 0 || have < size {
		if have == len(c.buffer) {
			return errors.New("an answer does not fit")
		}
		n, err := c.conn.Read(c.buffer[have:])
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		have += n
		if size == 0 {
			if size, err = answerSize(c.buffer[:have]); err != nil {
				return err
			}
		}
	}
	if !bytes.HasPrefix(c.buffer, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("the answer is %.60q", c.buffer[:have])
	}
	return nil
}

// answerSize is the length of an answer by its content-length; 0 as long as its head is not whole.
func answerSize(b []byte) (int, error) {
	head := bytes.Index(b, []byte("\r\n\r\n"))
	if head < 0 {
		return 0, nil
	}
	const name = "content-length: "
	at := bytes.Index(b[:head], []byte(name))
	if at < 0 {
		return 0, errors.New("an answer without content-length")
	}
	value, _, _ := bytes.Cut(b[at+len(name):], []byte("\r\n"))
	body, err := strconv.Atoi(string(value))
	return head + 4 + body, err
}
