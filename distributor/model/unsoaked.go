package model

import (
	"fmt"
	"slices"
)

// Unsoaked says what is wrong with a wave that has gates and no soak; empty where nothing is. Its gates are read, once, as soon as its nodes serve: what
// has been counted by then is what nodes of earlier waves have done, and an answer from elsewhere is about the time before. An approval waits in any case.
func (w WaveSpec) Unsoaked() string {
	if w.Soak > 0 || !slices.ContainsFunc(w.Gates, func(g GateSpec) bool { return g.Approval == nil }) {
		return ""
	}
	return "it has gates and no soak: they are read as soon as its nodes serve, when next to nothing has been counted of these; give it a soak, such as soak: 5m"
}

// Warnings are what a person should know of a spec that is valid all the same, wave by wave.
func (s RolloutSpec) Warnings() []string {
	var warnings []string
	for i, w := range s.Waves {
		if why := w.Unsoaked(); why != "" {
			warnings = append(warnings, fmt.Sprintf("wave %d of %d: %s", i+1, len(s.Waves), why))
		}
	}
	return warnings
}
