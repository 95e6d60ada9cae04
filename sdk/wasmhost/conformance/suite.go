package conformance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// result is what came of one case on one version.
type result struct {
	id          int
	name        string
	version     string
	envoy, host trace
	diff        string // empty: the traces are the same
	err         error  // the case could not be run
}

// hostTraces runs cases in wasmhost.
func hostTraces(ctx context.Context, host *wasmhost.Host, version string, cases map[int]testCase) (map[int]trace, error) {
	out := map[int]trace{}
	for id, c := range cases {
		t, err := runHost(ctx, host, version, id, c)
		if err != nil {
			return nil, fmt.Errorf("case %q in wasmhost: %w", c.name, err)
		}
		out[id] = t
	}
	return out, nil
}

// compare runs cases in wasmhost and in a real Envoy of one version, and compares.
func compare(ctx context.Context, host *wasmhost.Host, binary envoy.Binary, version, dir string, cases map[int]testCase) ([]result, error) {
	expected, err := hostTraces(ctx, host, version, cases)
	if err != nil {
		return nil, err
	}
	real, err := startEnvoy(ctx, binary, dir, maps.Clone(cases))
	if err != nil {
		return nil, fmt.Errorf("start Envoy %s: %w", version, err)
	}
	defer real.stop()
	ids := slices.Sorted(maps.Keys(cases))
	results := make([]result, len(ids))
	var wg sync.WaitGroup
	slots := make(chan struct{}, workersAtOnce)
	for i, id := range ids {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wg.Done() }()
			c := cases[id]
			r := result{id: id, name: c.name, version: version, host: expected[id]}
			r.envoy, r.err = real.run(ctx, id, c, expected[id])
			if r.err == nil {
				r.diff = difference(r.envoy, r.host)
			}
			results[i] = r
		}()
	}
	wg.Wait()
	return results, nil
}

// casesFor numbers the cases of a version. A case has the same number in all of them.
func casesFor(version string, only func(testCase) bool) map[int]testCase {
	out := map[int]testCase{}
	for i, c := range allCases() {
		if c.within(version) && (only == nil || only(c)) {
			out[i+1] = c
		}
	}
	return out
}
