package xds

import (
	"sync"
	"testing"
	"unsafe"

	"github.com/waft-project/waft/envoy"
)

// A chain that many are given at the same time is encoded once, in memory once.
func TestEncodedOnceForAll(t *testing.T) {
	const many = 64
	module := hashOf("module")
	o := &offer{slot: envoy.SlotName, version: hashOf("chain"), filters: []filter{{
		WasmFilter: envoy.WasmFilter{
			Name: "f", Config: make([]byte, 1<<20), Remote: envoy.RemoteModule{URL: modulesURL + module, Cluster: envoy.ModulesCluster, SHA256: module[len("sha256:"):]},
		},
		digest: module, version: hashOf("filter"),
	}}}
	for i := range o.filters[0].Config {
		o.filters[0].Config[i] = 'x'
	}
	var e encoder
	var all sync.WaitGroup
	got := make([][]byte, many)
	for i := range many {
		all.Go(func() {
			var err error
			if got[i], err = e.field(o, true); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i, b := range got {
		if len(b) == 0 || unsafe.SliceData(b) != unsafe.SliceData(got[0]) {
			t.Fatalf("%d has bytes of its own", i)
		}
	}
}
