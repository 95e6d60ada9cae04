package api

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/model"
)

// BenchmarkStatus makes the answer to whoever reads or watches a whole rollout, as it is sent.
func BenchmarkStatus(b *testing.B) {
	const nodes, waves = 10_000, 10
	from := model.ReleaseID{Name: "edge", Hash: model.Digest([]byte("before"))}
	r := model.Rollout{Name: "large", Spec: model.RolloutSpec{Release: from}, Nodes: map[string]model.NodeProgress{}, Wave: waves - 1}
	for wave := range waves {
		w := model.WaveState{StartedAt: time.Unix(1, 0)}
		for i := range nodes / waves {
			id := fmt.Sprintf("node-%05d.cluster.example", i*waves+wave)
			w.Nodes = append(w.Nodes, id)
			r.Nodes[id] = model.NodeProgress{State: model.NodeServing, Wave: wave, From: from, FromGiven: true}
		}
		r.Waves = append(r.Waves, w)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := proto.Marshal(rolloutProto(r, true)); err != nil {
			b.Fatal(err)
		}
	}
}
