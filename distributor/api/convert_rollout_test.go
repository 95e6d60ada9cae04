package api

import (
	"testing"

	"google.golang.org/protobuf/proto"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// What a person writes into a rollout reaches the service, and comes back as it was written.
func TestRolloutSpecRoundTrip(t *testing.T) {
	document := `apiVersion: waft.dev/v1
kind: Rollout
metadata: {name: edge}
spec:
  release: edge@sha256:1234
  target: {selector: env=prod, includeUnreported: true}
  waves:
  - {nodes: 1, cohort: {header: {name: x-canary, value: "1"}}}
  - {nodes: 1, cohort: {percent: 10}}
  - {nodes: 1, soak: 30s, deadline: 2m, gates: [{errorRatio: {max: 0.01, minSamples: 50}}]}
  - selector: zone=a
    gates:
    - {stuck: {max: 0.01, minSamples: 30}}
    - {watchdog: {max: 2}}
    - {reloads: {max: 3}}
    - {growth: {maxMemory: 64MiB, maxVms: 0}}
    - statistic: {name: orders, statistics: {bad: wasmcustom.orders_failed, all: wasmcustom.orders}, expression: "increase.bad == 0.0", once: "increase.all > 9.0"}
    - {comparison: {of: latency, maxIncrease: 0.2, percentile: 99.5, slack: 10ms, minSamples: 7}}
  - {percent: 100}
`
	m, err := DecodeDocument([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	written := m.(*waftv1.Rollout)
	draft, err := rolloutDraft(&waftv1.StartRolloutRequest{Rollout: written})
	if err != nil {
		t.Fatal(err)
	}
	if !draft.IncludeUnreported || draft.Selector != "env=prod" {
		t.Errorf("the draft is %+v", draft)
	}
	release, err := model.ParseReleaseRef(draft.Release)
	if err != nil {
		t.Fatal(err)
	}
	back := rolloutProto(model.Rollout{Name: draft.Name, Spec: model.RolloutSpec{
		Release: model.ReleaseID(release), Selector: draft.Selector, IncludeUnreported: draft.IncludeUnreported, Waves: draft.Waves,
	}}, false)
	if !proto.Equal(back.GetSpec(), written.GetSpec()) {
		t.Errorf("got  %v\nwant %v", back.GetSpec(), written.GetSpec())
	}
}
