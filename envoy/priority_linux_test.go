package envoy_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// V8's threads give way for good, the main thread until it is told otherwise, and workers never.
func TestCompilersGiveWay(t *testing.T) {
	t.Parallel()
	process, _ := envoytest.Start(t, envoytest.Binary(t, envoytest.Newest), envoy.BootstrapConfig{
		NodeID: "n", Cluster: "c", Number: envoytest.Newest, Inline: true, Default: []envoy.WasmFilter{{Name: "one", ModulePath: goGuest, Config: []byte("x")}},
		DirectResponse: &envoy.DirectResponse{Status: 200},
	})
	if err := process.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	nice := func(begins string) (all []int) {
		t.Helper()
		tasks, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(process.PID()), "task", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			name, err := os.ReadFile(filepath.Join(task, "comm"))
			if err != nil || !strings.HasPrefix(string(name), begins) {
				continue
			}
			thread, err := strconv.Atoi(filepath.Base(task))
			if err != nil {
				t.Fatal(err)
			}
			raw, err := syscall.Getpriority(syscall.PRIO_PROCESS, thread)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, 20-raw)
		}
		if len(all) == 0 {
			t.Fatalf("Envoy has no thread %s…", begins)
		}
		return all
	}
	was := nice("envoy")[0]
	restore := process.LowerMain()
	lowered := nice("envoy")[0]
	if err := process.GiveWay(); err != nil {
		t.Fatal(err)
	}
	restore()
	if now := nice("envoy")[0]; now != was && now != was+1 || os.Geteuid() == 0 && (lowered <= was || now != was) {
		t.Errorf("the main thread was %d, %d while lowered, and is %d", was, lowered, now)
	}
	// An agent that is killed meanwhile does not restore it; the next one does.
	_ = process.LowerMain()
	if err := process.RestoreMain(); err != nil && os.Geteuid() == 0 {
		t.Error(err)
	}
	if now := nice("envoy")[0]; os.Geteuid() == 0 && now != was {
		t.Errorf("the main thread was %d before an agent ended that had lowered it, and is %d", was, now)
	}
	for _, n := range nice("V8 ") {
		if n <= was {
			t.Errorf("a compiler is at %d", n)
		}
	}
	for _, n := range nice("wrk:") {
		if n != was {
			t.Errorf("a worker is at %d", n)
		}
	}
}
