package model

import (
	"maps"
	"slices"
)

// Clone is a copy that shares nothing with r.
func (r Rollout) Clone() Rollout {
	r.Spec = r.Spec.Clone()
	r.Restore = maps.Clone(r.Restore)
	r.Waves = slices.Clone(r.Waves)
	for i := range r.Waves {
		r.Waves[i].Nodes = slices.Clone(r.Waves[i].Nodes)
		r.Waves[i].Readings = slices.Clone(r.Waves[i].Readings)
		r.Waves[i].Approval = clonePointer(r.Waves[i].Approval)
	}
	r.Nodes = maps.Clone(r.Nodes)
	r.History = slices.Clone(r.History)
	r.Latest = slices.Clone(r.Latest)
	return r
}

// Clone is a copy that shares nothing with s.
func (s RolloutSpec) Clone() RolloutSpec {
	s.Waves, s.Freeze = slices.Clone(s.Waves), slices.Clone(s.Freeze)
	for i := range s.Waves {
		s.Waves[i].Gates = slices.Clone(s.Waves[i].Gates)
		for j := range s.Waves[i].Gates {
			s.Waves[i].Gates[j] = s.Waves[i].Gates[j].Clone()
		}
	}
	return s
}

// Clone is a copy that shares nothing with r.
func (r Release) Clone() Release {
	r.Filters = cloneFilters(r.Filters)
	r.Overrides = cloneFilters(r.Overrides)
	r.Resources, r.ResourceOverrides = cloneResources(r.Resources), cloneResources(r.ResourceOverrides)
	r.Declared, r.Taken = cloneCollections(r.Declared), slices.Clone(r.Taken)
	r.Disable = clonePointer(r.Disable)
	return r
}

// Clone is a copy that shares nothing with f.
func (f FilterSpec) Clone() FilterSpec {
	f.Module = clonePointer(f.Module)
	if f.Module != nil {
		f.Module.Envoys, f.Module.Lists = slices.Clone(f.Module.Envoys), slices.Clone(f.Module.Lists)
	}
	f.Priority = clonePointer(f.Priority)
	f.Config = slices.Clone(f.Config)
	return f
}

// Clone is a copy that shares nothing with n.
func (n Node) Clone() Node {
	n.Labels = maps.Clone(n.Labels)
	n.Assigned = maps.Clone(n.Assigned)
	n.Ledger = n.Ledger.Clone()
	n.Isolated, n.Moved, n.LastError = clonePointer(n.Isolated), clonePointer(n.Moved), clonePointer(n.LastError)
	n.Takes.Collections, n.Takes.Clusters = slices.Clone(n.Takes.Collections), slices.Clone(n.Takes.Clusters)
	return n
}

// Clone is a copy that shares nothing with e.
func (e LedgerEntry) Clone() LedgerEntry {
	e.Times, e.Secrets = maps.Clone(e.Times), maps.Clone(e.Secrets)
	return e
}

// Clone is a copy that shares nothing with c.
func (c Chain) Clone() Chain {
	c.Filters = slices.Clone(c.Filters)
	for i := range c.Filters {
		c.Filters[i].FilterSpec = c.Filters[i].FilterSpec.Clone()
	}
	c.Resources = slices.Clone(c.Resources)
	for i := range c.Resources {
		c.Resources[i] = c.Resources[i].Clone()
	}
	c.Releases = maps.Clone(c.Releases)
	c.Split = clonePointer(c.Split)
	return c
}

func cloneFilters(filters []FilterSpec) []FilterSpec {
	filters = slices.Clone(filters)
	for i := range filters {
		filters[i] = filters[i].Clone()
	}
	return filters
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
