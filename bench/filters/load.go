package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// loadCommand is the argument by which this program is the load.
const loadCommand = "load"

// load has another process send requests for a while, or a number of them, and says how many were answered with 200.
func load(ctx context.Context, address, token string, connections int, duration time.Duration, requests int) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, loadCommand, "-address", address, "-token", token, "-connections", strconv.Itoa(connections),
		"-duration", duration.String(), "-requests", strconv.Itoa(requests))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("the load: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// loadMain is the load's process. It prints how many requests were answered.
func loadMain(args []string) int {
	flags := flag.NewFlagSet(loadCommand, flag.ExitOnError)
	address := flags.String("address", "", "")
	token := flags.String("token", "", "")
	connections := flags.Int("connections", 1, "")
	duration := flags.Duration("duration", time.Second, "")
	requests := flags.Int("requests", 0, "stop after so many instead")
	_ = flags.Parse(args) // it ends the program itself
	request := "GET / HTTP/1.1\r\nhost: bench\r\nuser-agent: waft-bench\r\naccept: */*\r\n"
	if *token != "" {
		request += "authorization: Bearer " + *token + "\r\n"
	}
	request += "\r\n"
	var answered, allowed atomic.Int64
	allowed.Store(int64(*requests))
	deadline := time.Now().Add(*duration)
	more := func() bool {
		if *requests > 0 {
			return allowed.Add(-1) >= 0
		}
		return time.Now().Before(deadline)
	}
	var group sync.WaitGroup
	failures := make(chan error, *connections)
	for range *connections {
		group.Go(func() {
			n, err := send(*address, []byte(request), more)
			answered.Add(int64(n))
			if err != nil {
				failures <- err
			}
		})
	}
	group.Wait()
	select {
	case err := <-failures:
		fmt.Fprintln(os.Stderr, err)
		return 1
	default:
		fmt.Println(answered.Load())
		return 0
	}
}

// send sends requests over one connection, one after the other. All answers are as long as the first.
func send(address string, request []byte, more func() bool) (int, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	buffer := make([]byte, 64<<10)
	size, n := 0, 0
	for more() {
		if _, err := conn.Write(request); err != nil {
			return n, err
		}
		have := 0
		for have == 0 || have < size {
			k, err := conn.Read(buffer[have:])
			if err != nil {
				return n, err
			}
			have += k
			if size == 0 {
				if size, err = answerSize(buffer[:have]); err != nil {
					return n, err
				}
			}
		}
		if !bytes.HasPrefix(buffer[:have], []byte("HTTP/1.1 200 ")) || have != size {
			return n, fmt.Errorf("an answer is not as the first, of %d bytes: %q", size, buffer[:have])
		}
		n++
	}
	return n, nil
}

// answerSize is the length of an answer by its content-length; 0 as long as its headers are not whole.
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
