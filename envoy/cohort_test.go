package envoy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// splits are the versions that two chains side by side are tried on: the first that can, and the newest.
var splits = []envoy.Number{{Major: 1, Minor: 39, Patch: 3}, envoytest.Newest}

// split is two chains: one → both → two, and the same with other modules and configurations for the cohort. The first of each changes what the
// cohort is chosen by.
func split(cohort envoy.Cohort) []envoy.WasmFilter {
	rest, in := envoy.Only{Cohort: cohort, Outside: true}, envoy.Only{Cohort: cohort}
	return []envoy.WasmFilter{
		{Name: "one", ModulePath: guest, Config: []byte("tamper"), Only: rest},
		{Name: "one", ModulePath: otherGuest, Config: []byte("tamper"), Only: in},
		{Name: "both", ModulePath: guest, Config: []byte("all")},
		{Name: "two", ModulePath: guest, Config: []byte("old"), Only: rest},
		{Name: "two", ModulePath: guest, Config: []byte("new"), Only: in},
	}
}

// took are the filters that answered to a request, sorted.
func took(ctx context.Context, address string, header http.Header) (filters []string, status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return nil, 0, err
	}
	request.Header = header
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = answer.Body.Close() }() // nothing is read of it
	for name := range answer.Header {
		name = strings.ToLower(name)
		if name, ok := strings.CutSuffix(name, "-flavour"); ok {
			filters = append(filters, strings.TrimPrefix(name, "x-"))
		}
	}
	slices.Sort(filters)
	return filters, answer.StatusCode, nil
}

var (
	throughRest   = []string{"both", "one", "two"}
	throughCohort = []string{"both", "one.cohort", "two.cohort"}
	canary        = http.Header{"X-Canary": {"1"}}
)

// TestCohort sends requests through two chains side by side: each takes one of them, whole, although the first filter changes the header and the
// request's id; and so does the answer of a filter that answers itself.
func TestCohort(t *testing.T) {
	t.Parallel()
	for _, number := range splits {
		t.Run(number.String(), func(t *testing.T) {
			binary := envoytest.Binary(t, number)
			byHeader := split(envoy.Cohort{Header: "x-canary", Value: "1"})
			config := node(t, number, byHeader)
			process, admin := envoytest.Start(t, binary, config)
			if err := process.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			serves(t, admin, number, "default")
			listeners, err := admin.Listeners(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			address := listeners[envoy.DefaultStatPrefix]
			for _, test := range []struct {
				name   string
				header http.Header
				want   []string
			}{
				{"without the header", nil, throughRest},
				{"with it", canary, throughCohort},
				{"with another value", http.Header{"X-Canary": {"11"}}, throughRest},
				{"with two values", http.Header{"X-Canary": {"1", "2"}}, throughRest},
				{"with another header", http.Header{"X-Other": {"1"}}, throughRest},
			} {
				for range 5 {
					got, _, err := took(t.Context(), address, test.header)
					if err != nil || !slices.Equal(got, test.want) {
						t.Fatalf("%s: it took %v, want %v; %v", test.name, got, test.want, err)
					}
				}
			}
			counters(t, admin, number, map[string]int64{"in": 5, "": 20 + 1}) // and the one of serves

			deny := split(envoy.Cohort{Header: "x-canary", Value: "1"})
			deny[1].Config = []byte("deny")
			write(t, config, "deny", deny)
			serves(t, admin, number, "deny")
			if got, status, err := took(t.Context(), address, canary); err != nil || status != http.StatusForbidden || !slices.Equal(got, []string{"one.cohort"}) {
				t.Errorf("the answer of the cohort's first filter took %v, status %d, %v", got, status, err)
			}
			if got, status, err := took(t.Context(), address, nil); err != nil || status != http.StatusOK || !slices.Equal(got, throughRest) {
				t.Errorf("the rest took %v, status %d, %v", got, status, err)
			}

			write(t, config, "percent", split(envoy.Cohort{Percent: 25}))
			serves(t, admin, number, "percent")
			const requests = 400
			in := 0
			for range requests {
				got, _, err := took(t.Context(), address, nil)
				switch {
				case err == nil && slices.Equal(got, throughCohort):
					in++
				case err != nil || !slices.Equal(got, throughRest):
					t.Fatalf("a request took %v, %v", got, err)
				}
			}
			t.Logf("%d of %d requests took the chain under test", in, requests)
			// The standard deviation is 8.7; this is more than five of it.
			if in < 55 || in > 145 {
				t.Errorf("%d of %d requests are not a quarter", in, requests)
			}
			// One id, one chain: the same on every node and every time.
			for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
				header := http.Header{"X-Request-Id": {id}}
				first, _, err := took(t.Context(), address, header)
				second, _, again := took(t.Context(), address, header)
				if err := errors.Join(err, again); err != nil || !slices.Equal(first, second) {
					t.Errorf("the id %s took %v and then %v, %v", id, first, second, err)
				}
			}
		})
	}
}

// counters waits until the counters of a cohort say that many requests, by the tag's value; an Envoy that has none must have none.
func counters(t *testing.T, admin *envoy.Admin, number envoy.Number, want map[string]int64) {
	t.Helper()
	envoytest.Eventually(t, "the requests of the cohort are counted", func(ctx context.Context) error {
		stats, err := admin.Stats(ctx, `^waft\.requests\.cohort\.`)
		if err != nil {
			return err
		}
		if !number.CountsDenied() && len(stats.Values) == 0 {
			return nil
		}
		for tag, n := range want {
			if got := stats.Values[envoy.CohortRequestsStat+envoy.CohortTag+tag]; got != n {
				return fmt.Errorf("%q has %d, want %d: %v", tag, got, n, stats.Values)
			}
		}
		return nil
	})
}

func TestCohortRefuses(t *testing.T) {
	two := split(envoy.Cohort{Percent: 5})
	two[3].Only.Cohort.Percent = 6
	if _, err := envoy.Slots(envoytest.Newest, two, "v"); !errors.Is(err, envoy.ErrInvalid) {
		t.Errorf("filters of two cohorts: %v", err)
	}
	if _, err := envoy.Slots(envoytest.Oldest, split(envoy.Cohort{Percent: 5})[3:4], "v"); !errors.Is(err, envoy.ErrInvalid) {
		t.Errorf("a cohort in an Envoy that has a slot a filter: %v", err)
	}
	twice := split(envoy.Cohort{Percent: 5})
	twice[1] = twice[4]
	if _, err := envoy.Slots(envoytest.Newest, twice, "v"); !errors.Is(err, envoy.ErrInvalid) {
		t.Errorf("a filter that stands twice on one side: %v", err)
	}
}
