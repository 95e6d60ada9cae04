package wasmhost_test

import (
	"errors"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// TestPlugins has two plugins in one VM, of which one ends late.
func TestPlugins(t *testing.T) {
	p := newPuppet(t, virtual(), wasmhost.VMConfig{ID: "vm"})
	vm := p.VM()
	second, err := vm.Configure(t.Context(), wasmhost.PluginConfig{Name: "second", Configuration: []byte("conf")})
	if err != nil {
		t.Fatal(err)
	}
	p.sees("context_create 2 0", "vm_start 2 0", "configure 2 4")
	// A callback comes on the context that made the call; the effective context decides for whom a call is made.
	p.do("set_effective_context 2\nget_property plugin_name\nset_tick_period 100", "set_effective_context 2: 0", `get_property plugin_name: 0 "second"`, "set_tick_period 100: 0")
	if p.TickPeriod() != 0 || second.TickPeriod() != 100*time.Millisecond {
		t.Errorf("tick periods %s, %s", p.TickPeriod(), second.TickPeriod())
	}
	p.do("done", "done: 1")
	p.strings["done 2"] = "return 0"
	if err := second.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.sees("done 2")
	p.advance(100 * time.Millisecond)
	p.sees("tick 2") // its life is not over
	p.do("set_effective_context 2\ndone\ndone", "set_effective_context 2: 0", "done: 0", "done: 1", "delete 2")
	p.advance(time.Second)
	p.sees()
	p.do("set_effective_context 2", "set_effective_context 2: 2")
	if err := vm.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.sees("done 1", "delete 1")
}

// TestRareCallbacks runs those that Envoy does not, or only for few.
func TestRareCallbacks(t *testing.T) {
	p := newPuppet(t, virtual(), wasmhost.VMConfig{})
	p.strings["foreign_function"] = "get_buffer 8\nset_buffer 8 0 0 x"
	if err := p.ForeignCallback(t.Context(), 7, []byte("data")); err != nil {
		t.Fatal(err)
	}
	p.sees("foreign_function 1 7 4", `get_buffer 8: 0 "data"`, "set_buffer 8 0 0 x: 2")
	p.strings["validate_configuration"] = "get_buffer 7\nreturn 0"
	if good, err := p.Validate(t.Context(), []byte("bad")); good || err != nil {
		t.Errorf("validated %t, %v", good, err)
	}
	p.sees("validate_configuration 1 3", `get_buffer 7: 0 "bad"`)
	if good, err := p.Validate(t.Context(), nil); !good || err != nil {
		t.Errorf("validated %t, %v", good, err)
	}
	p.sees("validate_configuration 1 0")

	s := p.NewStream(t.Context(), wasmhost.StreamInfo{})
	if err := s.RequestHeaders(t.Context(), wasmhost.NewHeaders(":path", "/", ":method", "GET"), false); err != nil {
		t.Fatal(err)
	}
	if err := s.RequestMetadata(t.Context(), map[string]string{"a": "1", "b": "2"}); err != nil {
		t.Fatal(err)
	}
	if err := s.ResponseMetadata(t.Context(), map[string]string{"a": "1"}); err != nil {
		t.Fatal(err)
	}
	p.sees("context_create 2 1", "request_headers 2 2 0", "request_metadata 2 2", "response_metadata 2 1")
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.RequestMetadata(t.Context(), nil); !errors.Is(err, wasmhost.ErrOutOfOrder) {
		t.Errorf("metadata after the end gives %v", err)
	}
}

// TestWorkers has VMs of one module that share queues and data, as Envoy's workers do.
func TestWorkers(t *testing.T) {
	m := puppetModule(t)
	proxy := virtual()
	a := enlist(t, m, proxy, wasmhost.VMConfig{ID: "vm"})
	b := a.another(m, wasmhost.VMConfig{ID: "vm"})
	c := a.another(m, wasmhost.VMConfig{ID: "c"})

	a.do("register_queue q\nregister_queue other", "register_queue q: 0 1", "register_queue other: 0 2")
	b.do("register_queue q\nresolve_queue  other\nset_data k v 0", "register_queue q: 0 1", "resolve_queue  other: 0 2", "set_data k v 0: 0")
	c.do("register_queue q\nresolve_queue vm q\nresolve_queue no q\nenqueue 1 job\nenqueue 2 task\nenqueue 9 x\nget_data k\ndequeue 3\ndequeue 9",
		"register_queue q: 0 3", "resolve_queue vm q: 0 1", "resolve_queue no q: 1 0", "enqueue 1 job: 0", "enqueue 2 task: 0", "enqueue 9 x: 1", "get_data k: 1", "dequeue 3: 7", "dequeue 9: 1")
	// b registered q after a, so b hears; nobody but a registered the other.
	a.strings["queue_ready 1 1"] = "dequeue 1\ndequeue 1\nget_data k"
	a.advance(0)
	b.sees("queue_ready 1 1", `dequeue 1: 0 "job"`, "dequeue 1: 7", `get_data k: 0 "v"`)
	a.sees("queue_ready 1 2")
	c.sees()

	// What VMs of an id share is gone with the last of them.
	if err := a.VM().Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.do("resolve_queue vm q", "resolve_queue vm q: 0 1")
	if err := b.VM().Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.do("resolve_queue vm q", "resolve_queue vm q: 1 0")
	again := a.another(m, wasmhost.VMConfig{ID: "vm"})
	again.do("get_data k\nregister_queue q", "get_data k: 1", "register_queue q: 0 4")
}

// TestTwoReplies flags a second local reply in a response's callback, on which Envoy crashes; in a request's it changes nothing.
func TestTwoReplies(t *testing.T) {
	p := newPuppet(t, virtual(), wasmhost.VMConfig{Configuration: []byte("vm")})
	p.do("get_buffer 8\nget_buffer 6\nget_buffer 8", "get_buffer 8: 0", `get_buffer 6: 0 "vm"`, `get_buffer 8: 0 "vm"`) // the last one asked for
	for callback, misuse := range map[string]bool{"request_headers": false, "response_headers": true, "response_body": true} {
		p.strings[callback] = "reply 403 one\nreply 403 two\nreturn 1"
		out, err := p.Exchange(t.Context(), get(t), ok)
		if errors.Is(err, wasmhost.ErrMisuse) != misuse {
			t.Errorf("%s: got %v", callback, err)
		}
		if !misuse && (out.Response == nil || string(out.Response.Body) != "one") {
			t.Errorf("%s: got %+v", callback, out.Response)
		}
	}
}

// TestCrashAtStart crashes in on_context_create: on_vm_start runs all the same, and the plugin counts as configured.
func TestCrashAtStart(t *testing.T) {
	for _, test := range []struct {
		name    string
		started int32
		want    error
	}{{"and starts", 1, nil}, {"and does not start", 0, wasmhost.ErrStart}} {
		t.Run(test.name, func(t *testing.T) {
			m := newModule("0_2_1")
			log := m.importFunc("env", "proxy_log", "iii", "i")
			m.data = []byte("initstarted")
			m.function("_initialize", "", "", logCode(log, 0, 4))
			m.function("proxy_on_context_create", "ii", "", unreachable)
			m.function("proxy_on_vm_start", "ii", "i", join(logCode(log, 4, 7), i32(test.started)))
			m.function("proxy_on_configure", "ii", "i", i32(0))
			var heard []string
			vm, err := start(t, newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff}), m, "envoy-1.40",
				wasmhost.VMConfig{Log: func(l wasmhost.Log) { heard = append(heard, l.Message) }})
			if err != nil {
				t.Fatal(err)
			}
			_, err = vm.Configure(t.Context(), wasmhost.PluginConfig{})
			if !errors.Is(err, test.want) || test.want == nil && vm.Failed() == nil {
				t.Errorf("got %v; the VM has %v", err, vm.Failed())
			}
			if len(heard) < 3 || heard[0] != "init" || heard[len(heard)-1] != "started" {
				t.Errorf("heard %q", heard)
			}
		})
	}
}

// TestEnvoyForeign calls the foreign functions that Envoy brings.
func TestEnvoyForeign(t *testing.T) {
	p := newPuppet(t, virtual(), wasmhost.VMConfig{})
	p.do("foreign clear_route_cache\nforeign uncompress rubbish\nforeign_back compress aaaaaaaaaaaaaaaa uncompress\nforeign nothing",
		"foreign clear_route_cache: 0", "foreign uncompress rubbish: 3",
		`foreign_back compress aaaaaaaaaaaaaaaa uncompress: 0 "aaaaaaaaaaaaaaaa"`, "foreign nothing: 1")
}
