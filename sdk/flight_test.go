package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// flyer asks for the same thing several times at once, with one call that gives up early.
type flyer struct {
	flights sdk.Flights[string]
	work    func(ctx context.Context, key string) (string, error)
	got     []string
}

func (f *flyer) NewHandler() sdk.Handler { return f }

func (f *flyer) OnRequestHeaders(ctx context.Context, r *sdk.Request) sdk.Action {
	do := func(key string, limit time.Duration) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = sdk.WithTimeout(ctx, limit)
				defer cancel()
			}
			value, err := f.flights.Do(ctx, key, func(ctx context.Context) (string, error) { return f.work(ctx, key) })
			f.got = append(f.got, fmt.Sprint(key, ":", value, ":", err))
			return nil
		}
	}
	_ = sdk.All(ctx, do("a", time.Millisecond), do("a", 0), do("a", 0), do("b", 0))
	return sdk.Continue
}

// TestFlights: work for a key is done once for all who wait for it, also when the one that asked first has given up; who comes later has it
// done again.
func TestFlights(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		work func(ctx context.Context, key string) (string, error)
		want string
	}{
		{"a value", func(ctx context.Context, key string) (string, error) {
			return key + key, sdk.Sleep(ctx, 10*time.Millisecond)
		},
			"a::context deadline exceeded a:aa:<nil> a:aa:<nil> b:bb:<nil>"},
		{"an error", func(ctx context.Context, _ string) (string, error) {
			return "", errors.Join(errors.New("no"), sdk.Sleep(ctx, 10*time.Millisecond))
		}, "a::context deadline exceeded a::no a::no b::no"},
		{"a panic", func(ctx context.Context, key string) (string, error) {
			_ = sdk.Sleep(ctx, 10*time.Millisecond)
			panic(key)
		}, "a::context deadline exceeded a::PANICKED a::PANICKED b::PANICKED"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			f := &flyer{work: func(ctx context.Context, key string) (string, error) { calls++; return test.work(ctx, key) }}
			host := sdktest.New(t, func(*sdk.Plugin, *struct{}) (sdk.Filter, error) { return f, nil }, "{}")
			for round := range 2 {
				f.got = nil
				if got := host.Do(sdktest.Request{}); got.Upstream == nil {
					t.Fatalf("answered with %d", got.Response.Status())
				}
				slices.Sort(f.got)
				got := strings.ReplaceAll(strings.Join(f.got, " "), "the work that others waited for as well panicked; see the log", "PANICKED")
				if got != test.want {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
				if calls != 2*(round+1) {
					t.Errorf("%d calls after %d rounds of two keys", calls, round+1)
				}
			}
		})
	}
}
