package conformance

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// Mutant is a wasmhost without one function, and what the suite says of it.
type Mutant struct {
	Left string // the function or callback that was left out
	Red  int    // how many cases then have another trace
	Case string // the first of them
}

// uncalled are the callbacks of the ABI that no Envoy calls of itself: leaving them out changes nothing. Envoy's code for them is there;
// only a foreign function compiled into Envoy could reach on_foreign_function, and nothing calls validate_configuration.
var uncalled = []string{"proxy_on_foreign_function", "proxy_validate_configuration"}

// inert are the functions that do nothing but return nothing or ENOSYS, which is what wasmhost does for a function that is left out, too.
// That they are there, with their types, is what the cases "imports/…" and "wasi/…" show.
var inert = []string{
	"emscripten_notify_memory_growth", "fd_fdstat_set_flags", "fd_pread", "fd_prestat_dir_name", "fd_read", "proc_exit",
}

// Mutate leaves every host function, WASI function and callback out of wasmhost, one at a time, and runs the cases again until one is
// red. It needs no Envoy: the traces of the whole wasmhost, which Run has shown to be Envoy's, are the measure.
func Mutate(ctx context.Context, version string, log io.Writer) ([]Mutant, error) {
	cases := casesFor(version, nil)
	whole, err := tracesWithout(ctx, version, cases, "")
	if err != nil {
		return nil, err
	}
	functions := map[string]string{}
	for _, m := range []map[string]string{hostFunctions, oldHostFunctions, emscriptenFunctions, wasiFunctions, callbacks} {
		maps.Copy(functions, m)
	}
	var mutants []Mutant
	for _, left := range slices.Sorted(maps.Keys(functions)) {
		if slices.Contains(uncalled, left) || slices.Contains(inert, left) {
			continue
		}
		m := Mutant{Left: left}
		// Cases that mention the function first: most mutants are found by one of them.
		short := strings.TrimPrefix(left, "proxy_")
		ids := slices.SortedFunc(maps.Keys(cases), func(a, b int) int {
			x, y := strings.Contains(whole[a].String(), short), strings.Contains(whole[b].String(), short)
			switch {
			case x && !y:
				return -1
			case y && !x:
				return 1
			}
			return a - b
		})
		for at := 0; at < len(ids) && m.Red == 0; at += mutationBatch {
			batch := map[int]testCase{}
			for _, id := range ids[at:min(at+mutationBatch, len(ids))] {
				batch[id] = cases[id]
			}
			mutated, err := tracesWithout(ctx, version, batch, left)
			if err != nil {
				return nil, err
			}
			for _, id := range slices.Sorted(maps.Keys(batch)) {
				if mutated[id].String() != whole[id].String() {
					m.Red++
					if m.Case == "" {
						m.Case = cases[id].name
					}
				}
			}
		}
		mutants = append(mutants, m)
		verdict := "red: " + m.Case
		if m.Red == 0 {
			verdict = "SURVIVES"
		}
		_, _ = fmt.Fprintf(log, "without %-42s %s\n", left, verdict) // progress only
	}
	return mutants, nil
}

// mutationBatch is how many cases a mutant gets at a time.
const mutationBatch = 12

// tracesWithout runs cases in a wasmhost that lacks a function; none for the empty name.
func tracesWithout(ctx context.Context, version string, cases map[int]testCase, left string) (map[int]trace, error) {
	cfg := wasmhost.Config{CacheDir: wasmhost.CacheOff}
	if left != "" {
		cfg.LeaveOut = []string{left}
	}
	host, err := wasmhost.NewHost(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { _ = host.Close(ctx) }()
	return hostTraces(ctx, host, version, cases)
}
