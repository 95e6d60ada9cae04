// Command fanoutserver is the server of bench-fanout: waft's own, or go-control-plane's snapshot cache and server, with the same limits and TLS, in the
// same program, so that what both need counts for both. It serves one filter, of a size that is said, to whoever asks.
//
// It writes its address to the standard output, then an answer for each line on the standard input, as JSON; it ends with the standard input.
//
//	change N [BYTES]    serve the change of that number, in a resource of that size, and say when it was made
//	usage               say what the process has used, and its peak of memory since the last time
//	collect             give back what memory it can, then as usage
//
// It is a module of its own, since go-control-plane's caches and servers are not among what waft needs.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/waft-project/waft/distributor"
)

// server is one of the two.
type server interface {
	// serve serves until the process ends.
	serve(net.Listener) error
	// prepare makes a change, and gives what makes it known; only that is measured.
	prepare(number, bytes int) (publish func() error, err error)
}

// settings are what both are told.
type settings struct {
	dialect string
	bytes   int
	tls     distributor.TLS
	// perNode gives each node a snapshot of its own; go-control-plane's alone.
	perNode int
}

func main() {
	var s settings
	name := flag.String("server", "waft", "waft or go-control-plane")
	flag.StringVar(&s.dialect, "dialect", "delta", "mcp, ads or delta")
	flag.IntVar(&s.bytes, "bytes", 2048, "the size of the resource, encoded")
	flag.IntVar(&s.perNode, "per-node", 0, "how many nodes have a snapshot of their own in go-control-plane's cache, node-00000 and so on; 0: all share one")
	certificates := flag.String("certificates", "", "the folder with server.pem, server-key.pem and ca.pem")
	listen := flag.String("listen", "127.0.0.1:0", "where to listen")
	profile := flag.String("profile", "", "a file for the profile of the processor")
	flag.Parse()
	if *profile != "" {
		runtime.MemProfileRate = profileRate
	}
	s.tls = distributor.TLS{
		Cert: filepath.Join(*certificates, "server.pem"), Key: filepath.Join(*certificates, "server-key.pem"), ClientCA: filepath.Join(*certificates, "ca.pem"),
	}
	if err := run(*name, s, *listen, *profile); err != nil {
		fmt.Fprintln(os.Stderr, "fanoutserver:", err)
		os.Exit(1)
	}
}

// profileRate is how many bytes are taken between two samples of the profile of the memory: a node's parts are small.
const profileRate = 4 << 10

func run(name string, s settings, listen, profile string) error {
	open, ok := map[string]func(context.Context, settings) (server, error){"waft": openWaft, "go-control-plane": openPeer}[name]
	if !ok {
		return fmt.Errorf("no server is called %q; there are waft and go-control-plane", name)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	one, err := open(ctx, s)
	if err != nil {
		return err
	}
	if _, err := change(one, 0, s.bytes); err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- one.serve(l) }()
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		defer pprof.StopCPUProfile()
	}
	answers := json.NewEncoder(os.Stdout)
	if err := answers.Encode(map[string]string{"address": l.Addr().String()}); err != nil {
		return err
	}
	said := make(chan error, 1)
	go func() { said <- obey(one, s, answers, os.Stdin, profile) }()
	select {
	case err := <-failed:
		return err
	case err := <-said:
		return err
	}
}

// heap writes what is in memory beside the profile.
func heap(profile string) {
	var b bytes.Buffer
	runtime.GC()
	_ = pprof.Lookup("heap").WriteTo(&b, 0)
	_ = os.WriteFile(profile+".heap", b.Bytes(), 0o644)
	b.Reset()
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
	_ = os.WriteFile(profile+".goroutines", b.Bytes(), 0o644)
}

// obey answers each line.
func obey(one server, s settings, answers *json.Encoder, lines io.Reader, profile string) error {
	scanner := bufio.NewScanner(lines)
	for scanner.Scan() {
		what, argument, _ := strings.Cut(scanner.Text(), " ")
		var answer any
		var err error
		switch what {
		case "change":
			n, size := 0, s.bytes
			if _, err = fmt.Sscan(argument, &n); err == nil {
				_, _ = fmt.Sscanf(argument, "%d %d", &n, &size) // the size may be left out
				answer, err = change(one, n, size)
			}
		case "usage":
			if answer, err = used(); profile != "" {
				heap(profile) // while the nodes are there
			}
		case "collect":
			debug.FreeOSMemory()
			answer, err = used()
		case "profile":
			if profile != "" {
				var f *os.File
				if f, err = os.Create(profile); err == nil {
					err = pprof.StartCPUProfile(f)
				}
			}
			answer = struct{}{}
		default:
			err = fmt.Errorf("%q is none of change, usage and collect", what)
		}
		if err != nil {
			return err
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return scanner.Err()
}

// changed says when a change was made, in nanoseconds since 1970.
type changed struct {
	At int64 `json:"at"`
}

func change(one server, n, bytes int) (changed, error) {
	known, err := one.prepare(n, bytes)
	if err != nil {
		return changed{}, err
	}
	at := time.Now()
	return changed{At: at.UnixNano()}, known()
}

// usage is what the process has used, and has now.
type usage struct {
	CPU        float64 `json:"cpu_s"`
	RSS        float64 `json:"rss_mb"`
	Peak       float64 `json:"peak_mb"`
	Goroutines int     `json:"goroutines"`
}

func used() (usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{}, err
	}
	u := usage{CPU: seconds(r.Utime) + seconds(r.Stime), Goroutines: runtime.NumGoroutine()}
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return usage{}, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		kb, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			u.RSS = kb / 1024
		case "VmHWM:":
			u.Peak = kb / 1024
		}
	}
	if u.RSS == 0 {
		return usage{}, errors.New("/proc/self/status has no VmRSS")
	}
	return u, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // the peak begins anew
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
