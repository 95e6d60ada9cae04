package mcp

import (
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/waft-project/waft/distributor/model"
)

// A filter that many are given at the same time is encoded once, in memory once.
func TestEncodedOnceForAll(t *testing.T) {
	const many = 64
	r := model.Resource{Name: "f", Version: "v", Filter: &model.RenderedFilter{FilterSpec: model.FilterSpec{
		Name: "f", Module: &model.Module{Digest: "sha256:" + strings.Repeat("a", 64)}, Config: []byte(`"` + strings.Repeat("x", 8<<20) + `"`),
	}}}
	var e encoder
	var all sync.WaitGroup
	got := make([][]byte, many)
	start := make(chan struct{})
	for i := range many {
		all.Go(func() {
			<-start
			var err error
			if got[i], err = e.field(model.CollectionFilters, r); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	all.Wait()
	for i, b := range got {
		if len(b) == 0 || unsafe.SliceData(b) != unsafe.SliceData(got[0]) {
			t.Fatalf("%d has bytes of its own", i)
		}
	}
}
