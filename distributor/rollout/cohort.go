package rollout

import (
	"cmp"
	"fmt"

	"github.com/waft-project/waft/distributor/model"
)

// movedWithWave says whether a node of the current wave was assigned what the wave gives: one that an earlier wave moved with another cohort is
// moved, and still to be moved on.
func (m *machine) movedWithWave(p model.NodeProgress) bool {
	return moved(p) && p.Cohort == m.waveSpec().Cohort
}

// inRow says whether the node's row has what the rollout last gave it.
func (m *machine) inRow(p *model.NodeProgress, v *NodeView) bool {
	release, _ := m.gives(v.ID)
	if p.Cohort != (model.Cohort{}) {
		return v.Assigned == p.From && v.Split == model.NodeSplit{Layer: m.state.Layer, Release: release, Cohort: p.Cohort}
	}
	return v.Assigned == release && v.Split.Layer != m.state.Layer
}

// backInRow says whether the node's row has what it had before, for all requests.
func (m *machine) backInRow(p *model.NodeProgress, v *NodeView) bool {
	return v.Assigned == p.From && v.Split.Layer != m.state.Layer
}

// told is what a moved node has served with the release. Where it has two chains, that is what took the one under test; false where it cannot tell.
func told(p *model.NodeProgress, s *model.Statistics) (*model.Statistics, bool) {
	if p.Cohort == (model.Cohort{}) {
		return s, true
	}
	c := s.Cohort
	return &model.Statistics{Chain: s.Chain, At: s.At, Requests: c.Requests, Errors: c.Errors, Denied: c.Denied, DeniedKnown: c.Known, Seen: c.Seen, Health: c.Health}, c.Known
}

// notByCohort says why a gate of the current wave cannot judge; empty where it can. A rollout with such a gate is refused, and may have been started before it
// was.
func (m *machine) notByCohort(g model.GateSpec) string {
	if m.waveSpec().Cohort == (model.Cohort{}) {
		return ""
	}
	return g.NotByCohort()
}

// waveNotes are what a person should know of the gates of the current wave.
func (m *machine) waveNotes() []string {
	notes := m.cohortNotes()
	if why := m.waveSpec().Unsoaked(); why != "" {
		notes = append([]string{why}, notes...)
	}
	return notes
}

// cohortNotes are what a person should know of the gates of the current wave, where it has a cohort.
func (m *machine) cohortNotes() []string {
	if m.waveSpec().Cohort == (model.Cohort{}) {
		return nil
	}
	var notes []string
	for _, g := range m.waveSpec().Gates {
		if note := cmp.Or(g.NotByCohort(), g.CohortNote()); note != "" {
			notes = append(notes, note)
		}
	}
	return notes
}

// cohortLess is what the current wave's gates cannot tell of a node whose Envoy does not count a cohort's requests apart; empty for none.
func (m *machine) cohortLess(v *NodeView) string {
	if m.waveSpec().Cohort == (model.Cohort{}) || v.CannotTell == "" {
		return ""
	}
	for _, g := range m.waveSpec().Gates {
		if !g.Elsewhere() && g.Approval == nil && g.Watchdog == nil {
			return v.CannotTell + ": gates cannot tell its cohort from the other requests, and pause the rollout"
		}
	}
	return ""
}

// untold says why nothing can be said of the traffic; empty where it can.
func (t traffic) untold() string {
	if t.mute == 0 {
		return ""
	}
	return fmt.Sprintf("%s cannot tell the cohort's requests from the others: none has been served, or its Envoy is older than 1.40, or was started by an older agent",
		plural(t.mute, "node"))
}

// rowChain is the chain that the node is to run by its row.
func rowChain(v *NodeView) string { return cmp.Or(v.RowChain, v.CurrentChain) }

// splitMemo is the hash of one split chain. The nodes of a wave mostly have the same.
type splitMemo struct {
	rest, test string
	cohort     model.Cohort
	hash       string
}

// splitHash is model.SplitHash, which is not worked out again for each of many like nodes.
func (m *machine) splitHash(rest, test string, cohort model.Cohort) string {
	if cohort == (model.Cohort{}) {
		return test
	}
	if s := &m.split; s.hash == "" || s.rest != rest || s.test != test || s.cohort != cohort {
		*s = splitMemo{rest: rest, test: test, cohort: cohort, hash: model.SplitHash(rest, test, cohort)}
	}
	return m.split.hash
}
