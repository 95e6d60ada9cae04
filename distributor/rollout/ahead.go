package rollout

import "github.com/waft-project/waft/distributor/model"

// Ahead names the nodes that the wave after the one that soaks would move first if it began now. They may have the modules on disk by then, so that
// their wave need not wait for that: it is a hint, and who is in the wave is decided when it begins. None while nothing soaks, or in the last wave. Nodes
// and memo are those of the last Observe. The error is that of a selector that does not parse.
func Ahead(r model.Rollout, nodes []NodeView, memo *Memo) ([]string, error) {
	if r.Phase != model.RolloutSoaking || r.Wave+1 >= len(r.Spec.Waves) {
		return nil, nil
	}
	m := machine{state: own(r), memo: &Memo{}}
	if err := m.parse(); err != nil {
		return nil, err
	}
	m.see(nodes, memo)
	m.state.Wave++
	s := m.survey()
	var ids []string
	for _, c := range choose(m.waveSpec(), m.waveSelectors[m.state.Wave], s.candidates, s.reached, s.total) {
		if c.tier != tierAgain {
			ids = append(ids, c.view.ID)
		}
	}
	m.keepSeats()
	return ids, nil
}
