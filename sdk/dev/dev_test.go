package dev

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/loopback"
	"github.com/waft-project/waft/sdk/scaffold"
)

// waitLimit bounds every wait of a test, on a busy machine.
const waitLimit = 90 * time.Second

// buffer is what a session has shown.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// news leaves out what comes with every request.
func (b *buffer) news() string {
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		if !strings.Contains(line, " trace ") && !strings.Contains(line, " request ") && !strings.Contains(line, " metric ") {
			out.WriteString(line)
		}
	}
	return out.String()
}

// eventually waits for a condition.
func eventually(t *testing.T, shown *buffer, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(waitLimit)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %s; the session showed\n%s", what, waitLimit, shown.news())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A session from the first build to the end: requests, logs and metrics are shown; a change is swapped in without a failed
// request; what does not compile, and what Envoy refuses, leave the last good one serving; nothing is left behind.
func TestSession(t *testing.T) {
	binary, err := envoy.Find("")
	if err != nil {
		t.Fatalf("%v; run `make envoy`", err)
	}
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "greeter")
	if _, err := scaffold.New(t.Context(), scaffold.Options{Dir: dir, SDK: root}); err != nil {
		t.Fatal(err)
	}
	listen, err := loopback.Free()
	if err != nil {
		t.Fatal(err)
	}
	var shown buffer
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, Config{Dir: dir, Binary: binary, Listen: listen, Trace: true, Out: &shown}) }()
	defer cancel()

	says := func(text string) func() bool { return func() bool { return strings.Contains(shown.String(), text) } }
	answers := func(text string) func() bool {
		return func() bool { _, body := ask(listen, ""); return body == text }
	}
	eventually(t, &shown, "first answer", answers("say who you are\n"))
	if greeting, _ := ask(listen, "Ann"); greeting != "good day Ann" {
		t.Errorf("the greeting is %q", greeting)
	}
	eventually(t, &shown, "request line", says("GET / -> 400"))
	eventually(t, &shown, "metric", says("greeter.unnamed 1 (+1)"))
	eventually(t, &shown, "trace", says("> proxy_on_request_headers"))

	// Requests go on while the filter is changed; not one fails.
	failed, load := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(load)
		for ctx.Err() == nil {
			if greeting, body := ask(listen, "Ann"); greeting == "" && ctx.Err() == nil {
				select {
				case failed <- body:
				default:
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	source := filepath.Join(dir, "main.go")
	rewrite(t, source, `"say who you are\n"`, `"who are you?\n"`)
	eventually(t, &shown, "answer of the changed filter", answers("who are you?\n"))

	rewrite(t, source, "func main() {}", "func main() {}\n\nvar broken int = \"text\"")
	eventually(t, &shown, "compiler's error", says("main.go:18:18"))
	eventually(t, &shown, "word on what serves", says("goes on serving"))
	rewrite(t, source, "\n\nvar broken int = \"text\"", "")
	eventually(t, &shown, "build without an effect", says("nothing that Envoy sees has changed"))

	scenarios := filepath.Join(dir, "scenarios", "visitors.yaml")
	rewrite(t, scenarios, "header: x-name,", `header: "",`)
	eventually(t, &shown, "refusal", says("envoy refuses it"))
	if !strings.Contains(shown.String(), "header: is empty; name a request header") {
		t.Errorf("the reason is not shown:\n%s", shown.news())
	}
	if _, body := ask(listen, ""); body != "who are you?\n" {
		t.Errorf("after the refusal the answer is %q", body)
	}
	rewrite(t, scenarios, `header: "", greeting: good day`, "header: x-name, greeting: hey")
	eventually(t, &shown, "new greeting", func() bool { greeting, _ := ask(listen, "Ann"); return greeting == "hey Ann" })
	select {
	case body := <-failed:
		t.Errorf("a request failed during the changes: %q", body)
	default:
	}

	cancel()
	<-load
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the session ended with %v", err)
		}
	case <-time.After(waitLimit):
		t.Fatal("the session does not end")
	}
	if left, err := filepath.Glob(filepath.Join(temp, "waft-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := free(listen); err != nil {
		t.Errorf("something still listens: %v", err)
	}
}

// An address that is taken is told before anything is built.
func TestAddressIsTaken(t *testing.T) {
	binary, err := envoy.Find("")
	if err != nil {
		t.Fatalf("%v; run `make envoy`", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = Run(t.Context(), Config{Dir: ".", Binary: binary, Listen: l.Addr().String(), Out: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("got %v", err)
	}
}

// ask sends a request, under a name where one is given.
func ask(address, name string) (greeting, body string) {
	request, err := http.NewRequest(http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return "", err.Error()
	}
	if name != "" {
		request.Header.Set("x-name", name)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err.Error()
	}
	return response.Header.Get("x-greeting"), string(text)
}

func rewrite(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		t.Fatalf("%s does not hold %q", path, from)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A filter of connections is refused, with what runs it.
func TestConnectionsAreRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gate")
	if _, err := scaffold.New(t.Context(), scaffold.Options{Dir: dir, Template: "tcp", SDK: "../.."}); err != nil {
		t.Fatal(err)
	}
	s := &session{Config: Config{Dir: dir}}
	if _, err := s.scene(); !errors.Is(err, ErrConnections) || !strings.Contains(err.Error(), "waft test --envoy") {
		t.Errorf("got %v", err)
	}
}
