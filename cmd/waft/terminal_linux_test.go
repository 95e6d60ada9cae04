package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/waft-project/waft/registry/registrytest"
)

// terminal is a pseudo-terminal, and what was written to it.
type terminal struct {
	master, slave *os.File
	// written is what was written so far; ended is closed when no more can come.
	mu      sync.Mutex
	written []byte
	ended   chan struct{}
}

func openTerminal(t *testing.T, columns int) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	control := func(request uintptr, value unsafe.Pointer) {
		t.Helper()
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), request, uintptr(value)); errno != 0 {
			t.Fatal(errno)
		}
	}
	var locked, number int32
	size := [4]uint16{24, uint16(columns)}
	control(syscall.TIOCSPTLCK, unsafe.Pointer(&locked))
	control(syscall.TIOCGPTN, unsafe.Pointer(&number))
	control(syscall.TIOCSWINSZ, unsafe.Pointer(&size))
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{master: master, slave: slave, ended: make(chan struct{})}
	go func() {
		defer close(term.ended)
		_, _ = io.Copy(term, master) // ends with an error when the last slave is closed
	}()
	return term
}

// Write takes what a terminal was given.
func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written = append(t.written, p...)
	return len(p), nil
}

// sofar is what was written to it until now.
func (t *terminal) sofar() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.written)
}

// text ends the terminal and gives what was written to it.
func (t *terminal) text() string {
	_ = t.slave.Close()
	<-t.ended
	_ = t.master.Close()
	return t.sofar()
}

// Push, pull, export and import draw their progress on a terminal, over one line, and take it away; elsewhere they draw nothing. Their
// results are the same, and go elsewhere.
func TestProgressOnATerminal(t *testing.T) {
	e := registrytest.Start(t)
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	mustWaft(t, "build", "--out", dir, "--version", "1.0.0", "../../sdk/build/testdata/bare")
	ref := e.Host + "/filters/bare:1.0.0"
	const columns = 50
	for _, args := range [][]string{
		{"push", filepath.Join(dir, "bare.wasm"), ref},
		{"pull", ref, "-O", filepath.Join(dir, "pulled.wasm")},
		{"export", ref, "-o", filepath.Join(dir, "bundle.tar")},
		{"import", filepath.Join(dir, "bundle.tar"), "--to", e.Host + "/copy"},
	} {
		t.Run(args[0], func(t *testing.T) {
			run := func(stderr io.Writer) string {
				t.Helper()
				var out bytes.Buffer
				root := newRoot()
				root.SetArgs(append(args, "--plain-http", e.Host))
				root.SetOut(&out)
				root.SetErr(stderr)
				if err := root.ExecuteContext(t.Context()); err != nil {
					t.Fatal(err)
				}
				return out.String()
			}
			term := openTerminal(t, columns)
			result := run(term.slave)
			drawn := term.text()
			lines := strings.Split(drawn, "\r\x1b[K")
			if len(lines) < 3 || lines[0] != "" || lines[len(lines)-1] != "" {
				t.Errorf("drawn: %q; want one line or more, and nothing left of them", drawn)
			}
			for _, line := range lines[1 : len(lines)-1] {
				if admits := args[0] == "push" && strings.HasPrefix(line, "admit "); admits || line == "" { // before a push, and between two bars
					continue
				}
				if !strings.HasPrefix(line, args[0]+" ") || !strings.Contains(line, " MB") || len([]rune(line)) >= columns || strings.ContainsAny(line, "\n\x1b") {
					t.Errorf("drawn: %q", line)
				}
			}
			var elsewhere bytes.Buffer
			if again := run(&elsewhere); again != result || elsewhere.Len() > 0 {
				t.Errorf("elsewhere: %q with the result %q, on a terminal %q", elsewhere.String(), again, result)
			}
			if strings.ContainsAny(result, "\r\x1b") || result == "" {
				t.Errorf("the result is %q", result)
			}
		})
	}
}
