package envoy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

func TestFill(t *testing.T) {
	chain := func(names ...string) []envoy.WasmFilter {
		var filters []envoy.WasmFilter
		for _, name := range names {
			filters = append(filters, envoy.WasmFilter{Name: name, ModulePath: "/" + name})
		}
		return filters
	}
	for _, test := range []struct {
		name         string
		slots, chain []string
		want         []string // the names of those that do something
		fits         bool
	}{
		{"all", []string{"a", "b"}, []string{"a", "b"}, []string{"a", "b"}, true},
		{"the first is out", []string{"a", "b", "c"}, []string{"b", "c"}, []string{"b", "c"}, true},
		{"one in the middle is out", []string{"a", "b", "c"}, []string{"a", "c"}, []string{"a", "c"}, true},
		{"the last is out", []string{"a", "b"}, []string{"a"}, []string{"a"}, true},
		{"all are out", []string{"a", "b"}, nil, nil, true},
		{"nothing at all", nil, nil, nil, true},
		{"another one", []string{"a", "b"}, []string{"a", "c"}, nil, false},
		{"one more", []string{"a"}, []string{"a", "b"}, nil, false},
		{"another order", []string{"a", "b"}, []string{"b", "a"}, nil, false},
		{"one twice", []string{"a", "b"}, []string{"a", "a"}, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			filled, err := envoy.Fill(test.slots, chain(test.chain...))
			if !test.fits {
				if !errors.Is(err, envoy.ErrInvalid) {
					t.Errorf("%v, %v; want ErrInvalid", filled, err)
				}
				return
			}
			var names, does []string
			for _, f := range filled {
				names = append(names, f.Name)
				if f.ModulePath != "" {
					does = append(does, f.Name)
				}
				if err := f.Check(); err != nil {
					t.Error(err)
				}
			}
			if err != nil || !slices.Equal(names, test.slots) || !slices.Equal(does, test.want) {
				t.Errorf("%v, of which %v do something, %v", names, does, err)
			}
		})
	}
}

// A slot without its filter lets requests through, from the start and after a swap, and says that it has the chain.
func TestSlotWithoutItsFilter(t *testing.T) {
	t.Parallel()
	number := envoytest.Oldest
	binary := envoytest.Binary(t, number)
	slots := []string{"one", "two"}
	fill := func(filters []envoy.WasmFilter) []envoy.WasmFilter {
		filled, err := envoy.Fill(slots, filters)
		if err != nil {
			t.Fatal(err)
		}
		return filled
	}
	second := envoy.WasmFilter{Name: "two", ModulePath: guest, Config: []byte("there")}
	config := node(t, number, nil)
	config.SlotFilters, config.Default = slots, one("hello")
	write(t, config, "default", fill(one("hello")))
	_, admin := envoytest.Start(t, binary, config)
	for _, swap := range []struct {
		version  string
		filters  []envoy.WasmFilter
		one, two string
	}{
		{"default", one("hello"), "hello", ""},
		{"both", append(one("hello"), second), "hello", "there"},
		{"without one", []envoy.WasmFilter{second}, "", "there"},
		{"without any", nil, "", ""},
		{"with one", one("again"), "again", ""},
	} {
		write(t, config, swap.version, fill(swap.filters))
		envoytest.Eventually(t, swap.version, func(ctx context.Context) error {
			stats, err := admin.Stats(ctx, "extension_config_discovery")
			if err != nil {
				return err
			}
			for _, name := range slots { // which are not swapped as one
				if got := stats.Texts[envoy.SlotStats(envoy.FilterSlotName(name))+"version_text"]; got != swap.version {
					return fmt.Errorf("slot %s has %q", name, got)
				}
			}
			listeners, err := admin.Listeners(ctx)
			if err != nil {
				return err
			}
			answer, _, err := envoytest.Get(ctx, listeners[envoy.DefaultStatPrefix], "/")
			if err == nil && (answer.StatusCode != 200 || answer.Header.Get("x-one") != swap.one || answer.Header.Get("x-two") != swap.two) {
				err = fmt.Errorf("answer %d, headers %v", answer.StatusCode, answer.Header)
			}
			return err
		})
	}
	stats, err := admin.Stats(t.Context(), "extension_config_discovery")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slots { // each has changed twice, and been left as it was twice
		prefix := envoy.SlotStats(envoy.FilterSlotName(name))
		if stats.Values[prefix+"update_rejected"]+stats.Values[prefix+"config_fail"] != 0 || stats.Values[prefix+"config_reload"] != 3 {
			t.Errorf("slot %s: %v", name, stats.Values)
		}
	}
}
