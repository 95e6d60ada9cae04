package envoy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

func TestRenderRefuses(t *testing.T) {
	good := func() envoy.BootstrapConfig {
		return envoy.BootstrapConfig{NodeID: "n", Cluster: "c", Number: envoytest.Newest, SlotDir: "/slots", DirectResponse: &envoy.DirectResponse{Status: 200}}
	}
	if _, err := good().Render(); err != nil {
		t.Fatal(err)
	}
	filter := envoy.WasmFilter{Name: "a", ModulePath: "/a.wasm"}
	for _, test := range []struct {
		name   string
		change func(*envoy.BootstrapConfig)
		says   string
	}{
		{"no node id", func(c *envoy.BootstrapConfig) { c.NodeID = "" }, "id and a cluster"},
		{"no cluster", func(c *envoy.BootstrapConfig) { c.Cluster = "" }, "id and a cluster"},
		{"an Envoy too old", func(c *envoy.BootstrapConfig) { c.Number = envoy.Number{Major: 1, Minor: 35} }, "1.35.0"},
		{"no version", func(c *envoy.BootstrapConfig) { c.Number = envoy.Number{} }, "0.0.0"},
		{"a relative folder", func(c *envoy.BootstrapConfig) { c.SlotDir = "slots" }, `"slots"`},
		{"nowhere to go", func(c *envoy.BootstrapConfig) { c.DirectResponse = nil }, "one place"},
		{"two places to go", func(c *envoy.BootstrapConfig) { c.Upstream = "127.0.0.1:1" }, "one place"},
		{"a route without an end", func(c *envoy.BootstrapConfig) { c.DirectResponse = nil; c.Routes = []envoy.Route{{Name: "r"}} }, `route "r"`},
		{"an address without a port", func(c *envoy.BootstrapConfig) { c.Listen = "127.0.0.1" }, "host:port"},
		{"an address with a bad port", func(c *envoy.BootstrapConfig) { c.AdminAddress = "127.0.0.1:99999" }, "host:port"},
		{"a cluster without an address", func(c *envoy.BootstrapConfig) { c.Clusters = []envoy.Cluster{{Name: "x"}} }, "cluster x"},
		{"slots by filter in a new Envoy", func(c *envoy.BootstrapConfig) { c.SlotFilters = []string{"a"} }, "one slot"},
		{"pre-loading in an old Envoy", func(c *envoy.BootstrapConfig) { c.Number = envoytest.Oldest; c.Preload = true }, "1.36.4"},
		{"an old Envoy's default without a slot", func(c *envoy.BootstrapConfig) {
			c.Number, c.SlotFilters, c.Default = envoytest.Oldest, []string{"b"}, []envoy.WasmFilter{filter}
		}, "no slot for filter a"},
		{"an old Envoy's default with more filters than slots", func(c *envoy.BootstrapConfig) {
			c.Number, c.Default = envoytest.Oldest, []envoy.WasmFilter{filter}
		}, "no slot for filter a"},
		{"filters of connections in a slot", func(c *envoy.BootstrapConfig) { c.TCP, c.DirectResponse, c.Upstream = true, nil, "127.0.0.1:1" }, "Inline"},
		{"connections without an upstream", func(c *envoy.BootstrapConfig) { c.TCP, c.Inline = true, true }, "Upstream"},
		{"a filter of connections twice", func(c *envoy.BootstrapConfig) {
			c.TCP, c.Inline, c.DirectResponse, c.Upstream, c.Default = true, true, nil, "127.0.0.1:1", []envoy.WasmFilter{filter, filter}
		}, "two filters named a"},
		{"listeners of its own beside those of a server", func(c *envoy.BootstrapConfig) {
			c.SlotDir, c.DirectResponse, c.Listen, c.ADS = "", nil, "127.0.0.1:1", &envoy.ADS{Address: "127.0.0.1:1", Modules: "127.0.0.1:2", Dynamic: true}
		}, "none of its own"},
		{"limits of streams beside listeners of a server", func(c *envoy.BootstrapConfig) {
			c.SlotDir, c.DirectResponse, c.MaxStreamDuration, c.ADS = "", nil, 1, &envoy.ADS{Address: "127.0.0.1:1", Modules: "127.0.0.1:2", Dynamic: true}
		}, "stand in the listeners"},
		{"a filter twice", func(c *envoy.BootstrapConfig) { c.Default = []envoy.WasmFilter{filter, filter} }, "two filters named a"},
		{"a filter without a module", func(c *envoy.BootstrapConfig) { c.Default = []envoy.WasmFilter{{Name: "a"}} }, "filter a"},
		{"a filter with two modules", func(c *envoy.BootstrapConfig) {
			c.Default = []envoy.WasmFilter{{Name: "a", ModulePath: "/a", ModuleBytes: []byte{0}}}
		}, "one of them"},
		{"a relative module", func(c *envoy.BootstrapConfig) { c.Default = []envoy.WasmFilter{{Name: "a", ModulePath: "a.wasm"}} }, "not absolute"},
		{"a name that is no label", func(c *envoy.BootstrapConfig) { c.Default = []envoy.WasmFilter{{Name: "A/b", ModulePath: "/a"}} }, `"A/b"`},
		{"a name too long", func(c *envoy.BootstrapConfig) {
			c.Default = []envoy.WasmFilter{{Name: strings.Repeat("a", 64), ModulePath: "/a"}}
		}, "DNS label"},
		{"an unknown policy", func(c *envoy.BootstrapConfig) {
			c.Default = []envoy.WasmFilter{{Name: "a", ModulePath: "/a", FailurePolicy: "FAIL_SOMEHOW"}}
		}, "FAIL_SOMEHOW"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := good()
			test.change(&config)
			_, err := config.Render()
			if !errors.Is(err, envoy.ErrInvalid) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want ErrInvalid with %q", err, test.says)
			}
		})
	}
}

func TestRenderingIsDeterministic(t *testing.T) {
	filters := []envoy.WasmFilter{{Name: "a", ModulePath: "/a", Config: []byte("{}")}, {Name: "b", ModulePath: "/b"}}
	first, err := envoy.Chain(envoy.SlotName, filters, "v")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := envoy.Chain(envoy.SlotName, filters, "v")
		if err != nil || string(again) != string(first) {
			t.Fatalf("rendered differently (error %v)", err)
		}
	}
}
