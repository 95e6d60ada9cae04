package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waft-project/waft/envoy"
)

// startLimit is how long an Envoy may take to serve; compiling a module takes seconds.
const startLimit = 2 * time.Minute

// measure fills in the figures of all rows.
func measure(ctx context.Context, binary envoy.Binary, temp string, rows []*row, o options) error {
	running := map[*row]*server{}
	for _, r := range rows {
		if r.missing != "" {
			continue
		}
		s, err := start(ctx, binary, filepath.Join(temp, r.name), r, 1)
		if err != nil {
			return fmt.Errorf("row %s: %w", r.name, err)
		}
		defer s.stop()
		running[r] = s
		if err := s.verify(ctx, r); err != nil {
			return fmt.Errorf("row %s: %w", r.name, err)
		}
		if _, err := load(ctx, s.address, r.token, o.connections, o.warmUp, 0); err != nil {
			return fmt.Errorf("row %s: %w", r.name, err)
		}
		if r.rss, err = s.rss(); err != nil {
			return err
		}
		progress("%s is ready: %.0f MB", r.name, r.rss)
	}
	for round := range o.rounds {
		order := slices.Clone(rows)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, r := range order {
			s := running[r]
			if s == nil {
				continue
			}
			sample, err := s.sample(ctx, r, o)
			if err != nil {
				return fmt.Errorf("row %s: %w", r.name, err)
			}
			r.samples = append(r.samples, sample)
		}
		if done := round + 1; done%10 == 0 || done == o.rounds {
			progress("round %d of %d", done, o.rounds)
		}
	}
	for _, r := range rows {
		if s := running[r]; s != nil && r.name == "waft-headers" && o.soak > 0 {
			if err := soak(ctx, s, r, o); err != nil {
				return err
			}
		}
		if s := running[r]; s != nil && r.compareWorkers && o.workers > 1 {
			if err := furtherWorkers(ctx, binary, temp, r, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// soak sends many requests and notes how much the process grew.
func soak(ctx context.Context, s *server, r *row, o options) error {
	before, err := s.rss()
	if err != nil {
		return err
	}
	if _, err := load(ctx, s.address, r.token, o.connections, 0, o.soak); err != nil {
		return err
	}
	after, err := s.rss()
	if err != nil {
		return err
	}
	growth := after - before
	r.soak = &growth
	return nil
}

// furtherWorkers notes what each worker after the first takes. All of them are used.
func furtherWorkers(ctx context.Context, binary envoy.Binary, temp string, r *row, o options) error {
	var sizes [2]float64
	for i, workers := range []int{1, o.workers} {
		s, err := start(ctx, binary, filepath.Join(temp, fmt.Sprintf("%s-%d", r.name, workers)), r, workers)
		if err != nil {
			return err
		}
		_, err = load(ctx, s.address, r.token, 8*o.workers, time.Second, 0)
		if err == nil {
			sizes[i], err = s.rss()
		}
		s.stop()
		if err != nil {
			return fmt.Errorf("row %s with %d workers: %w", r.name, workers, err)
		}
	}
	each := (sizes[1] - sizes[0]) / float64(o.workers-1)
	r.worker = &each
	return nil
}

// server is a running Envoy.
type server struct {
	process *envoy.Process
	address string
}

func start(ctx context.Context, binary envoy.Binary, dir string, r *row, workers int) (*server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	config, err := bootstrap(port, r.filters, r.callout)
	if err != nil {
		return nil, err
	}
	process, err := envoy.Start(ctx, binary, envoy.ProcessConfig{Dir: dir, Bootstrap: config, Concurrency: workers, LogLevel: "warning"})
	if err != nil {
		return nil, err
	}
	s := &server{process: process, address: fmt.Sprintf("127.0.0.1:%d", port)}
	ready, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := process.Ready(ready); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) stop() { _ = s.process.Stop(context.Background()) }

// freePort is a port that was free a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// verify looks at whether the filter does its work: a benchmark of one that does nothing would be a fine one.
func (s *server) verify(ctx context.Context, r *row) error {
	answer, err := s.ask(ctx, r.token)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	if r.adds {
		for _, name := range []string{"x-bench", "x-seen"} {
			if got := answer.Header.Values(name); len(got) != 1 || got[0] != headerValue {
				return fmt.Errorf("the response header %s is %q, want %q once", name, got, headerValue)
			}
		}
	}
	if got := answer.Header.Get("x-seen"); r.seen && got != headerValue {
		return fmt.Errorf("the request header x-bench is %q, want the callout's answer %q", got, headerValue)
	}
	if r.token != "" {
		if answer, err = s.ask(ctx, r.token[:len(r.token)-6]+"AAAAAA"); err != nil {
			return err
		}
		if answer.StatusCode != http.StatusUnauthorized {
			return fmt.Errorf("it answers a bad token with %s", answer.Status)
		}
	}
	return nil
}

func (s *server) ask(ctx context.Context, token string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/seen", nil)
	if err != nil {
		return nil, err
	}
	request.Close = true
	if token != "" {
		request.Header.Set("authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	return answer, answer.Body.Close()
}

// sample is the CPU that a request takes, in microseconds.
func (s *server) sample(ctx context.Context, r *row, o options) (float64, error) {
	before, err := s.cpu()
	if err != nil {
		return 0, err
	}
	n, err := load(ctx, s.address, r.token, o.connections, o.duration, 0)
	if err != nil {
		return 0, err
	}
	after, err := s.cpu()
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, errors.New("no request was answered")
	}
	return float64((after - before).Nanoseconds()) / 1e3 / float64(n), nil
}

// cpu is the time that all threads of the process have run, in nanoseconds' resolution (Linux, Documentation/scheduler/sched-stats).
func (s *server) cpu() (time.Duration, error) {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.process.PID()))
	if err != nil || len(paths) == 0 {
		return 0, fmt.Errorf("no schedstat of process %d: CPU times are read from Linux's /proc", s.process.PID())
	}
	var total time.Duration
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		first, _, _ := strings.Cut(string(data), " ")
		ran, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(ran)
	}
	return total, nil
}

// rss is the memory of the process that is in RAM, in MB of a million bytes.
func (s *server) rss() (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.PID()))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, fmt.Errorf("no VmRSS of process %d", s.process.PID())
	}
	kib, err := strconv.ParseFloat(fields[0], 64)
	return kib * 1024 / 1e6, err
}
