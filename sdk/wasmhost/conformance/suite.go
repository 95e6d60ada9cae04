package conformance

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	var results []result
	note := func(id int, t trace, err error) {
		r := result{id: id, name: cases[id].name, version: version, host: expected[id], envoy: t, err: err}
		if err == nil {
			r.diff = difference(r.envoy, r.host)
		}
		results = append(results, r)
	}
	together := func(name string, ids []int) (suspects []int, err error) {
		traces, errs, suspects, err := runTogether(ctx, binary, filepath.Join(dir, name), cases, ids, expected)
		if err != nil {
			return nil, fmt.Errorf("run cases in Envoy %s: %w", version, err)
		}
		for id, t := range traces {
			note(id, t, errs[id])
		}
		return suspects, nil
	}
	var waiting, alone []int
	for _, id := range slices.Sorted(maps.Keys(cases)) {
		if cases[id].alone {
			alone = append(alone, id)
		} else {
			waiting = append(waiting, id)
		}
	}
	for round := 0; len(waiting) > 0; round++ {
		suspects, err := together(strconv.Itoa(round), waiting)
		if err != nil {
			return nil, err
		}
		// Envoy died, of one of those that ran at the time.
		alone = append(alone, suspects...)
		waiting = slices.DeleteFunc(waiting, func(id int) bool {
			return slices.Contains(suspects, id) || slices.ContainsFunc(results, func(r result) bool { return r.id == id })
		})
	}
	for _, id := range alone {
		if _, err := together(fmt.Sprintf("alone-%d", id), []int{id}); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(results, func(a, b result) int { return a.id - b.id })
	return results, nil
}

// runTogether runs cases in one Envoy, some at a time. If Envoy dies, suspects are the cases that ran then, and those that did not get to
// run have no trace. A single case that kills it is a suspect and has a trace.
func runTogether(
	ctx context.Context, binary envoy.Binary, dir string, cases map[int]testCase, ids []int, expected map[int]trace,
) (traces map[int]trace, errs map[int]error, suspects []int, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, nil, err
	}
	mine := map[int]testCase{}
	for _, id := range ids {
		mine[id] = cases[id]
	}
	real, err := startEnvoy(ctx, binary, dir, mine)
	if err != nil {
		return nil, nil, nil, err
	}
	defer real.stop()
	traces, errs = map[int]trace{}, map[int]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, casesAtOnce)
	for _, id := range ids {
		c := cases[id]
		slots <- struct{}{}
		if real.dead() {
			break
		}
		wg.Add(1)
		go func() {
			defer func() { <-slots; wg.Done() }()
			t, err := real.run(id, c, expected[id])
			dead := real.dead() || err != nil && real.dies()
			mu.Lock()
			defer mu.Unlock()
			if dead {
				suspects = append(suspects, id)
				if len(ids) > 1 {
					return
				}
				err = nil
			}
			traces[id], errs[id] = t, err
		}()
	}
	wg.Wait()
	slices.Sort(suspects)
	return traces, errs, suspects, nil
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
