package envoytest

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waft-project/waft/envoy"
)

// Patience is how long tests wait for a condition of an Envoy before they fail.
const Patience = 60 * time.Second

// pollInterval is how often a condition is looked at.
const pollInterval = 20 * time.Millisecond

// Eventually waits until the condition gives nil, and fails the test with its last error when it never does.
func Eventually(t testing.TB, what string, condition func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var last error
	for {
		err := condition(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			last = err // at the end, the error is that of the context and tells nothing
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: never, in %s: %v", what, Patience, last)
		case <-ticker.C:
		}
	}
}

// How AsSoonAsEnvoy compares: what else there is to do at a start takes a fraction of what Envoy takes for itself; and a machine that is busy with other things is
// so at one time more than at another.
const (
	startTimes = 3
	startTries = 3
)

// AsSoonAsEnvoy fails the test when a start of all that a node needs takes much longer than one of its Envoy alone, right before it, each time. Both start it anew, and say how long it took until it
// served.
func AsSoonAsEnvoy(t testing.TB, alone, whole func() time.Duration) {
	t.Helper()
	for try := 1; ; try++ {
		least, took := alone(), whole()
		t.Logf("served after %d ms, an Envoy alone after %d ms", took.Milliseconds(), least.Milliseconds())
		if took <= startTimes*least {
			return
		}
		if try == startTries {
			t.Fatalf("a node took more than %d times as long to serve as its Envoy alone, %d times one after the other", startTimes, startTries)
		}
	}
}

// Write puts the files of slots in dir.
func Write(t testing.TB, dir string, files ...envoy.SlotFile) {
	t.Helper()
	for _, file := range files {
		if err := file.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// Start runs an Envoy with a bootstrap until the end of the test. When the test fails, the end of Envoy's log is shown.
func Start(t testing.TB, binary envoy.Binary, config envoy.BootstrapConfig) (*envoy.Process, *envoy.Admin) {
	t.Helper()
	bootstrap, err := config.Render()
	if err != nil {
		t.Fatal(err)
	}
	process, err := envoy.Start(t.Context(), binary, envoy.ProcessConfig{Dir: t.TempDir(), Bootstrap: bootstrap, LogLevel: "warning"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, line := range process.Log().Lines() {
				t.Log(line)
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	admin, err := process.Admin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return process, admin
}

// Get sends a request to a listener of an Envoy, on a connection of its own, and returns the answer with its body.
func Get(ctx context.Context, address, path string) (*http.Response, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return nil, "", err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = response.Body.Close() }() // read to its end
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

// BadModule writes a file that is no module.
func BadModule(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bad.wasm")
	if err := os.WriteFile(path, []byte("\x00asm\x01\x00\x00\x00 this is no module"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
