package api

import (
	"errors"
	"testing"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

func TestBytes(t *testing.T) {
	for text, want := range map[string]int64{"0B": 0, "64MiB": 64 << 20, "1 GiB": 1 << 30, "3KiB": 3 << 10, "1025B": 1025, "1048576GiB": 1 << 50} {
		got, err := parseBytes("rollout/r", "f", text)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
		if again, err := parseBytes("rollout/r", "f", bytesText(got)); err != nil || again != got {
			t.Errorf("%d is written as %q, which is %d, %v", got, bytesText(got), again, err)
		}
	}
	for _, text := range []string{"", "64", "64M", "64MB", "-1MiB", "1.5GiB", "MiB", "1048577GiB", "9999999999999999999B"} {
		if got, err := parseBytes("rollout/r", "f", text); !errors.Is(err, model.ErrInvalid) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func TestHealthOfAgents(t *testing.T) {
	if h, err := healthModel("n1", nil); err != nil || h.Known {
		t.Errorf("an agent that does not measure it: %+v, %v", h, err)
	}
	h, err := healthModel("n1", &waftv1.Health{
		Stuck: 1, WatchdogMisses: 2, WatchdogMegaMisses: 3, Reloads: 4, ReloadFailures: 5, Panics: 6, Vms: 7, VmsBefore: 8, Memory: 9, MemoryBefore: 10, Resident: true,
		Latency: []int64{1, 2, 3},
	})
	want := model.Health{Known: true, Stuck: 1, Misses: 2, Hangs: 3, Reloads: 4, ReloadFailures: 5, Panics: 6, VMs: 7, VMsBefore: 8, Memory: 9, MemoryBefore: 10, Resident: true, Latency: model.Latency{1, 2, 3}}
	if err != nil || h != want {
		t.Errorf("got %+v, %v", h, err)
	}
	many := make([]int64, 40)
	for i := range many {
		many[i] = 1
	}
	if h, err := healthModel("n1", &waftv1.Health{Latency: many}); err != nil || h.Latency.Count() != 40 || h.Latency[len(h.Latency)-1] != int64(41-len(h.Latency)) {
		t.Errorf("more buckets than there are: %v, %v", h.Latency, err)
	}
	for _, bad := range []*waftv1.Health{{Stuck: -1}, {Memory: -1}, {Latency: []int64{1, -1}}} {
		if _, err := healthModel("n1", bad); !errors.Is(err, model.ErrInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
