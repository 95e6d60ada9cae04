package sdk_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/waft-project/waft/sdk/filtertest"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// TestProbe runs the sdk as compiled Wasm.
func TestProbe(t *testing.T) { filtertest.Run(t, "testdata/probe") }

// TestImports wants a module on the sdk to ask of its host no WASI function but the 15 that any Go module needs, and to export
// nothing but what the HTTP life cycle calls.
func TestImports(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "probe.wasm")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-o", path, "./testdata/probe")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wasm, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	module, err := wasmhost.Inspect(wasm)
	if err != nil {
		t.Fatal(err)
	}
	if module.ABI != "0.2.1" {
		t.Errorf("ABI %q, want 0.2.1", module.ABI)
	}
	var wasi, exports []string
	for _, i := range module.Imports {
		if i.Module == "wasi_snapshot_preview1" {
			wasi = append(wasi, i.Name)
		} else if i.Module != "env" {
			t.Errorf("import %s.%s", i.Module, i.Name)
		}
	}
	for name := range module.Exports {
		exports = append(exports, name)
	}
	slices.Sort(wasi)
	slices.Sort(exports)
	base := []string{"args_get", "args_sizes_get", "clock_time_get", "environ_get", "environ_sizes_get", "fd_close", "fd_fdstat_get", "fd_fdstat_set_flags",
		"fd_prestat_dir_name", "fd_prestat_get", "fd_write", "poll_oneoff", "proc_exit", "random_get", "sched_yield"}
	if wasi = slices.Compact(wasi); !slices.Equal(wasi, base) {
		t.Errorf("WASI imports %q, want %q", wasi, base)
	}
	// All that a guest may be called back with; waft build takes away what the filter has no use for.
	want := []string{"_initialize", "proxy_abi_version_0_2_1", "proxy_on_configure", "proxy_on_context_create", "proxy_on_delete", "proxy_on_done",
		"proxy_on_downstream_connection_close", "proxy_on_downstream_data", "proxy_on_foreign_function", "proxy_on_grpc_close", "proxy_on_grpc_receive",
		"proxy_on_grpc_receive_initial_metadata", "proxy_on_grpc_receive_trailing_metadata", "proxy_on_http_call_response", "proxy_on_log",
		"proxy_on_memory_allocate", "proxy_on_new_connection", "proxy_on_queue_ready", "proxy_on_request_body", "proxy_on_request_headers",
		"proxy_on_request_trailers", "proxy_on_response_body", "proxy_on_response_headers", "proxy_on_response_trailers", "proxy_on_tick",
		"proxy_on_upstream_connection_close", "proxy_on_upstream_data"}
	if !slices.Equal(exports, want) {
		t.Errorf("exports %q, want %q", exports, want)
	}
}
