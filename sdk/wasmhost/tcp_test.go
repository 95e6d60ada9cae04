package wasmhost_test

import (
	"errors"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// TestConnection takes connections through their life.
func TestConnection(t *testing.T) {
	p := newPuppet(t, virtual(), wasmhost.VMConfig{})
	open := func(info wasmhost.ConnectionInfo) *wasmhost.Connection {
		c, err := p.NewConnection(t.Context(), info)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	passed := func(c *wasmhost.Connection, down string, downEnd bool, up string, upEnd bool) {
		t.Helper()
		d, de := c.ToUpstream()
		u, ue := c.ToDownstream()
		if string(d) != down || de != downEnd || string(u) != up || ue != upEnd {
			t.Errorf("passed %q %t and %q %t", d, de, u, ue)
		}
	}

	t.Run("data", func(t *testing.T) {
		p.strings["new_connection"] = "get_property source.address\nget_property upstream.address\nget_property request.path\nset_property mine 1\nget_buffer 2\nset_buffer 2 0 0 x\nget_map 0"
		c := open(wasmhost.ConnectionInfo{Source: "10.0.0.1:5", ClusterName: "db", Properties: map[string][]byte{"connection.mine": []byte("yes")}})
		p.sees("context_create 2 1", "new_connection 2", `get_property source.address: 0 "10.0.0.1:5"`, "get_property upstream.address: 1",
			"get_property request.path: 1", "set_property mine 1: 0", "get_buffer 2: 0", "set_buffer 2 0 0 x: 2", "get_map 0: none")
		if !c.Connected() {
			t.Error("not connected")
		}
		p.strings["downstream_data"] = "return 1"
		must(c.Downstream(t.Context(), []byte("SEL"), false))
		passed(c, "", false, "", false)
		p.strings["downstream_data"] = "get_buffer 2\nset_buffer 2 0 100 select\nget_buffer 2\nget_property mine\nget_property xds.cluster_name\nget_property connection.mine"
		must(c.Downstream(t.Context(), []byte("ECT"), false))
		p.sees("downstream_data 2 3 0", "downstream_data 2 6 0", `get_buffer 2: 0 "SELECT"`, "set_buffer 2 0 100 select: 0", `get_buffer 2: 0 "select"`,
			`get_property mine: 0 "1"`, `get_property xds.cluster_name: 0 "db"`, `get_property connection.mine: 0 "yes"`)
		passed(c, "select", false, "", false)
		p.do("set_effective_context 2\nset_buffer 2 0 0 x", "set_effective_context 2: 0", "set_buffer 2 0 0 x: 2") // it is gone

		p.strings["upstream_data"] = "get_buffer 3\nset_buffer 3 0 0 >\nget_buffer 2"
		must(c.Upstream(t.Context(), []byte("rows"), true))
		p.sees("upstream_data 2 4 1", `get_buffer 3: 0 "rows"`, "set_buffer 3 0 0 >: 0", "get_buffer 2: 0", "upstream_connection_close 2 0")
		passed(c, "select", false, ">rows", true)
		if err := c.Upstream(t.Context(), nil, false); !errors.Is(err, wasmhost.ErrOutOfOrder) {
			t.Errorf("data after the end gives %v", err)
		}
		must(c.Downstream(t.Context(), nil, true))
		must(c.Close(t.Context(), wasmhost.CloseRemote))
		must(c.Close(t.Context(), wasmhost.CloseRemote))
		p.sees("downstream_data 2 0 1", "downstream_connection_close 2 2", "done 2", "log 2", "delete 2")
		passed(c, "select", true, ">rows", true)
	})

	t.Run("continue", func(t *testing.T) {
		p.strings["new_connection"] = "return 1"
		c := open(wasmhost.ConnectionInfo{})
		if c.Connected() {
			t.Error("connected")
		}
		p.strings["downstream_data"] = "return 1"
		must(c.Downstream(t.Context(), []byte("hello"), true))
		p.sees("context_create 3 1", "new_connection 3") // nobody reads yet
		p.do("set_effective_context 3\nget_buffer 2\ncontinue 3\ncontinue 2\nreply 403 no",
			"set_effective_context 3: 0", "get_buffer 2: 0", "continue 3: 12", "continue 2: 0", "reply 403 no: 0", "downstream_data 3 5 1")
		passed(c, "", false, "", false)
		p.do("set_effective_context 3\nget_buffer 2\nget_property request.size\ncontinue 2", "set_effective_context 3: 0",
			`get_buffer 2: 0 "hello"`, `get_property request.size: 0 "\x05\x00\x00\x00\x00\x00\x00\x00"`, "continue 2: 0")
		passed(c, "hello", true, "", false)
		if !c.Connected() || c.Closed() {
			t.Error("not connected, or closed")
		}
		must(c.Close(t.Context(), wasmhost.CloseLocal))
		logged(p.VM())

		p.strings["new_connection"] = "return 1"
		c = open(wasmhost.ConnectionInfo{})
		must(c.Close(t.Context(), wasmhost.CloseRemote))
		p.sees("context_create 4 1", "new_connection 4") // nobody has noticed
		if c.Closed() {
			t.Error("closed")
		}
		p.do("set_effective_context 4\ncontinue 2", "set_effective_context 4: 0", "continue 2: 0",
			"downstream_connection_close 4 2", "done 4", "log 4", "delete 4")
	})

	t.Run("the filter closes", func(t *testing.T) {
		c := open(wasmhost.ConnectionInfo{})
		p.strings["downstream_data"] = "close 2\nclose 0"
		must(c.Downstream(t.Context(), []byte("bad"), false))
		p.sees("context_create 5 1", "new_connection 5", "downstream_data 5 3 0", "close 2: 0", "close 0: 0",
			"downstream_connection_close 5 1", "done 5", "log 5", "delete 5")
		passed(c, "", false, "", false)
		if err := c.Downstream(t.Context(), nil, false); !c.Closed() || !errors.Is(err, wasmhost.ErrOutOfOrder) {
			t.Errorf("closed %t, %v", c.Closed(), err)
		}
	})

	t.Run("crash", func(t *testing.T) {
		c := open(wasmhost.ConnectionInfo{})
		p.strings["downstream_data"] = "panic"
		if err := c.Downstream(t.Context(), []byte("boom"), false); err == nil || !c.Closed() {
			t.Errorf("closed %t, %v", c.Closed(), err)
		}
		c = openCrashed(t, p.Plugin)
		if !c.Closed() {
			t.Error("a connection on a crashed VM is open")
		}
	})
}

// openCrashed opens a connection on a VM that has crashed.
func openCrashed(t *testing.T, p *wasmhost.Plugin) *wasmhost.Connection {
	t.Helper()
	c, err := p.NewConnection(t.Context(), wasmhost.ConnectionInfo{})
	if err == nil {
		t.Error("no error")
	}
	return c
}

// TestConnectionFailOpen leaves the filter out after a crash.
func TestConnectionFailOpen(t *testing.T) {
	m := newModule("0_2_1")
	m.function("proxy_on_new_connection", "i", "i", unreachable)
	vm, err := start(t, newHost(t, wasmhost.Config{CacheDir: wasmhost.CacheOff}), m, "envoy-1.40", wasmhost.VMConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p := configured(t, vm, wasmhost.PluginConfig{FailurePolicy: wasmhost.FailOpen})
	if c := openCrashed(t, p); !c.Closed() {
		t.Error("the connection on which it crashed is open")
	}
	c, err := p.NewConnection(t.Context(), wasmhost.ConnectionInfo{})
	if err != nil || c.Downstream(t.Context(), []byte("a"), true) != nil {
		t.Fatal(err)
	}
	if data, end := c.ToUpstream(); string(data) != "a" || !end {
		t.Errorf("passed %q %t", data, end)
	}
}
