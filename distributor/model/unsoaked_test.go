package model

import (
	"strings"
	"testing"
	"time"
)

func TestWarnings(t *testing.T) {
	ratio, asks := GateSpec{ErrorRatio: &ErrorRatioGate{Max: 0.01}}, GateSpec{Approval: &ApprovalGate{}}
	spec := RolloutSpec{Waves: []WaveSpec{
		{Nodes: 1, Soak: time.Minute, Gates: []GateSpec{ratio}},
		{Percent: 50, Gates: []GateSpec{asks}},
		{Percent: 75, Gates: []GateSpec{asks, {Webhook: &WebhookGate{}}}},
		{Percent: 80},
		{Percent: 100, Gates: []GateSpec{ratio}},
	}}
	got := spec.Warnings()
	if len(got) != 2 || !strings.HasPrefix(got[0], "wave 3 of 5: it has gates and no soak") || !strings.HasPrefix(got[1], "wave 5 of 5: it has gates and no soak") ||
		!strings.Contains(got[1], "give it a soak") {
		t.Errorf("warned of %q", got)
	}
}
