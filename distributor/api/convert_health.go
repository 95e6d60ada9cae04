package api

import (
	"fmt"
	"strconv"
	"strings"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// healthGateModel turns the gates on a node's health into the model's.
func healthGateModel(object, path string, g *waftv1.Gate, out *model.GateSpec) error {
	if s := g.GetStuck(); s != nil {
		out.Stuck = &model.StuckGate{Max: s.GetMax(), MinSamples: s.GetMinSamples()}
	}
	if w := g.GetWatchdog(); w != nil {
		out.Watchdog = &model.WatchdogGate{Max: w.GetMax()}
	}
	if r := g.GetReloads(); r != nil {
		out.Reloads = &model.ReloadsGate{Max: r.GetMax()}
	}
	if w := g.GetGrowth(); w != nil {
		out.Growth = &model.GrowthGate{MaxVMs: w.MaxVms}
		if w.GetMaxMemory() != "" {
			bytes, err := parseBytes(object, path+".growth.maxMemory", w.GetMaxMemory())
			if err != nil {
				return err
			}
			out.Growth.MaxMemory = &bytes
		}
	}
	return nil
}

func healthGateProto(g model.GateSpec, out *waftv1.Gate) {
	if s := g.Stuck; s != nil {
		out.Stuck = &waftv1.StuckGate{Max: s.Max, MinSamples: s.MinSamples}
	}
	if w := g.Watchdog; w != nil {
		out.Watchdog = &waftv1.WatchdogGate{Max: w.Max}
	}
	if r := g.Reloads; r != nil {
		out.Reloads = &waftv1.ReloadsGate{Max: r.Max}
	}
	if w := g.Growth; w != nil {
		out.Growth = &waftv1.GrowthGate{MaxVms: w.MaxVMs}
		if w.MaxMemory != nil {
			out.Growth.MaxMemory = bytesText(*w.MaxMemory)
		}
	}
}

// byteUnits from the largest, as people write them.
var byteUnits = [...]struct {
	name string
	size int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// maxBytes bounds a size, so that no unit overflows it.
const maxBytes = 1 << 50

// parseBytes reads a size such as 64MiB.
func parseBytes(object, field, text string) (int64, error) {
	for _, unit := range byteUnits {
		number, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64); err == nil && n >= 0 && n <= maxBytes/unit.size {
			return n * unit.size, nil
		}
		break
	}
	return 0, model.Invalidf(object, field, "write one such as 64MiB, with B, KiB, MiB or GiB", "%q is no size", text)
}

// bytesText writes a size as parseBytes reads it.
func bytesText(bytes int64) string {
	for _, unit := range byteUnits {
		if bytes%unit.size == 0 && bytes >= unit.size {
			return fmt.Sprintf("%d%s", bytes/unit.size, unit.name)
		}
	}
	return "0B"
}

// healthModel takes what an agent says; nil is that of one which does not measure it.
func healthModel(node string, h *waftv1.Health) (model.Health, error) {
	if h == nil {
		return model.Health{}, nil
	}
	out := model.Health{
		Known: true, Stuck: h.GetStuck(), Misses: h.GetWatchdogMisses(), Hangs: h.GetWatchdogMegaMisses(),
		Reloads: h.GetReloads(), ReloadFailures: h.GetReloadFailures(), Panics: h.GetPanics(),
		VMs: h.GetVms(), VMsBefore: h.GetVmsBefore(), Memory: h.GetMemory(), MemoryBefore: h.GetMemoryBefore(), Resident: h.GetResident(),
	}
	for field, n := range map[string]int64{
		"stuck": out.Stuck, "watchdog_misses": out.Misses, "watchdog_mega_misses": out.Hangs, "reloads": out.Reloads, "reload_failures": out.ReloadFailures,
		"panics": out.Panics, "vms": out.VMs, "vms_before": out.VMsBefore, "memory": out.Memory, "memory_before": out.MemoryBefore,
	} {
		if n < 0 {
			return model.Health{}, notCounted(node, "health."+field, n)
		}
	}
	// More buckets than are known here are those of a newer agent, whose bounds go on beyond the last.
	last := len(out.Latency) - 1
	for i, n := range h.GetLatency() {
		if n < 0 {
			return model.Health{}, notCounted(node, "health.latency", n)
		}
		bucket := &out.Latency[min(i, last)]
		*bucket += min(n, model.MaxCount-*bucket)
	}
	return out, nil
}

func notCounted(node, field string, n int64) error {
	return model.Invalidf("node/"+node, "statistics."+field, "send counts", "%d is less than 0", n)
}
