package rollout

// lessUnproved is what a node without an agent gets less of than others, whatever the gates.
const lessUnproved = "without an agent: no probe, and no proof that it serves; gates know of it what its Envoy pushes"

// less is what the current wave does not do for a node without an agent, or cannot know of it.
func (m *machine) less() string { return lessUnproved + m.untellable() }

// accepted is what stands at a node without an agent that has loaded and accepted the chain.
func (m *machine) accepted() string { return reasonUnproved + m.untellable() }

// untellable names the gates of the current wave that cannot tell anything of a node without an agent; empty for none. What Envoy took before the chain was
// loaded nobody has seen: it pushes its statistics only now and then.
func (m *machine) untellable() string {
	for _, g := range m.waveSpec().Gates {
		if g.Growth != nil {
			return "; the gate " + g.Name() + " cannot tell, and pauses the rollout"
		}
	}
	return ""
}
