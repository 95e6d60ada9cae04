package main

import (
	"fmt"
	"strings"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
)

// module is a module that nobody fetches.
var module = model.Module{
	Reference: "localhost:7071/filters/f:1.0.0", Artifact: "sha256:" + strings.Repeat("a", 64), Digest: "sha256:" + strings.Repeat("b", 64), Size: 1 << 20,
}

// overhead is about what an encoded resource has beside the filter's configuration, in bytes.
const overhead = 700

// chainOf is the chain of a change: one filter, whose configuration names the change and fills the resource.
func chainOf(number, bytes int) (model.Chain, error) {
	config := fmt.Sprintf(`{"change":"change-%08d.","filling":"%s"}`, number, strings.Repeat("x", max(bytes-overhead, 0)))
	return merge.Render(map[model.Layer]model.Release{model.LayerGlobal: {
		ID: model.ReleaseID{Name: "fanout", Hash: model.Digest([]byte(config))}, Layer: model.LayerGlobal,
		Filters: []model.FilterSpec{{Name: "f", Module: &module, Config: []byte(config)}},
	}})
}
