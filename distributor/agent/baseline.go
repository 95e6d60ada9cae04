package agent

// baseline is what Envoy took before a chain was loaded, kept so that an agent which is started while the chain serves, and has seen nothing of
// the time before, does not take what the chain has leaked by then for where it began.
type baseline struct {
	// Chain is the hash of the chain.
	Chain    string `json:"chain"`
	VMs      int64  `json:"vms,omitempty"`
	Memory   int64  `json:"memory,omitempty"`
	Resident bool   `json:"resident,omitempty"`
}

// found prepares for the first chain that the meter is to follow. already says that it served before the meter was there: then what Envoy takes
// is not where it began, and that is known by what was kept (nil: nothing) or not at all. Later chains begin before the meter's eyes.
func (m *meter) found(c *chain, already bool, kept *baseline) {
	m.unwatched = already
	if kept != nil && kept.Chain == c.Hash {
		m.usual = footprint{vms: kept.VMs, memory: kept.Memory, resident: kept.Resident}
	}
}

// baseline is to be kept for the chain that is followed; false where it is not known.
func (m *meter) baseline() (baseline, bool) {
	return baseline{Chain: m.hash, VMs: m.before.vms, Memory: m.before.memory, Resident: m.before.resident}, m.before != footprint{}
}

// keepBaseline keeps what Envoy took before the chain that the meter has begun to follow.
func (d *driver) keepBaseline() {
	b, known := d.meter.baseline()
	if kept := d.state.read().Baseline; !known || kept != nil && *kept == b {
		return
	}
	if err := d.state.change(func(r *record) { r.Baseline = &b }); err != nil {
		d.log.Error("what Envoy took before the chain cannot be kept; after a restart of the agent it is not known", "error", err)
	}
}
