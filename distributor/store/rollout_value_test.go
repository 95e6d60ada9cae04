package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waft-project/waft/distributor/model"
)

// largeRollout is a rollout of n nodes in wave 5 of 10, whose nodes serve one after another.
func largeRollout(n int) model.Rollout {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	hash := func(of string) string { return model.Digest([]byte(of)) }
	r := model.Rollout{Name: "large", Spec: model.RolloutSpec{Release: model.ReleaseID{Name: "edge", Hash: hash("after")}}, Layer: model.LayerGlobal,
		Phase: model.RolloutMoving, Wave: 4, Nodes: map[string]model.NodeProgress{}}
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	for wave := range 5 {
		w := model.WaveState{StartedAt: at, MovedAt: at, Deadline: at}
		for i, place := range order[wave*n/10 : (wave+1)*n/10] {
			id := fmt.Sprintf("node-%05d.cluster.example", place)
			w.Nodes = append(w.Nodes, id)
			// What serves is seen in some 40 steps.
			since := at.Add(time.Duration(wave)*time.Minute + time.Duration(i%40)*time.Second)
			r.Nodes[id] = model.NodeProgress{State: model.NodeServing, Wave: wave, Since: since, MovedAt: at,
				From: model.ReleaseID{Name: "edge", Hash: hash("before")}, FromGiven: true, Chain: hash("chain"), FromChain: hash("from")}
		}
		r.Waves = append(r.Waves, w)
	}
	return r
}

func TestRolloutValues(t *testing.T) {
	p := func(state model.NodeState, wave int) model.NodeProgress {
		return model.NodeProgress{State: state, Wave: wave}
	}
	waves := func(nodes ...[]string) (out []model.WaveState) {
		for _, ids := range nodes {
			out = append(out, model.WaveState{Nodes: ids})
		}
		return out
	}
	edge := model.ReleaseID{Name: "edge", Hash: "sha256:1"}
	for _, test := range []struct {
		name string
		r    model.Rollout
	}{
		{"nothing", model.Rollout{Name: "r"}},
		{"like and unlike nodes", model.Rollout{Waves: waves([]string{"c", "a"}, []string{"b"}),
			Nodes: map[string]model.NodeProgress{"a": p(model.NodeServing, 0), "b": p(model.NodeMoving, 1), "c": p(model.NodeServing, 0)}}},
		{"a node that two waves took", model.Rollout{Waves: waves([]string{"a"}, []string{"a", "b"}),
			Nodes: map[string]model.NodeProgress{"a": p(model.NodeServing, 1), "b": p(model.NodeMoving, 1)}}},
		{"nodes of no wave", model.Rollout{Waves: waves([]string{"b"}),
			Nodes: map[string]model.NodeProgress{"b": p(model.NodeServing, 0), "a": p(model.NodeSkipped, -1), "c": p(model.NodeSkipped, -1)}}},
		{"a node that is not held any more", model.Rollout{Waves: waves([]string{"a", "b", "c"}),
			Nodes: map[string]model.NodeProgress{"b": p(model.NodeServing, 0)}}},
		{"waves and no node", model.Rollout{Waves: waves([]string{"a"})}},
		{"an undo", model.Rollout{Undoes: "r", Restore: map[string]model.ReleaseID{"a": edge, "b": {}, "c": edge}}},
		{"a large one", largeRollout(1000)},
	} {
		t.Run(test.name, func(t *testing.T) {
			value, err := encodeRollout(test.r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := decodeRollout("key", []byte(value))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.r, got); diff != "" {
				t.Errorf("it comes back otherwise:\n%s", diff)
			}
			old, err := json.Marshal(test.r) // as schema version 1 has it
			if err != nil {
				t.Fatal(err)
			}
			if got, err = decodeRollout("key", old); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.r, got); diff != "" {
				t.Errorf("that of schema version 1 is read otherwise:\n%s", diff)
			}
		})
	}
}

func TestDamagedRolloutValues(t *testing.T) {
	for name, value := range map[string]string{
		"a run of too many":        `{"waves":[{"nodes":["a"]}],"progress":[{}],"runs":[[2,0]]}`,
		"a run of none":            `{"waves":[{"nodes":["a"]}],"progress":[{}],"runs":[[0,0],[1,0]]}`,
		"no such progress":         `{"waves":[{"nodes":["a"]}],"progress":[{}],"runs":[[1,1]]}`,
		"a node that is in no run": `{"waves":[{"nodes":["a"]}],"progress":[{}],"others":["b"],"runs":[[1,0]]}`,
	} {
		if _, err := decodeRollout("/key", []byte(value)); err == nil || !strings.Contains(err.Error(), "/key is damaged") {
			t.Errorf("%s: error is %v, want one that names the key", name, err)
		}
	}
}

// BenchmarkEncodeRollout is the distributor's part of writing a rollout.
func BenchmarkEncodeRollout(b *testing.B) {
	r := largeRollout(20_000) // half of it in waves
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		value, err := encodeRollout(r)
		if err != nil {
			b.Fatal(err)
		}
		size = len(value)
	}
	b.ReportMetric(float64(size), "bytes")
}

// BenchmarkDecodeRollout is the distributor's part of reading one.
func BenchmarkDecodeRollout(b *testing.B) {
	value, err := encodeRollout(largeRollout(20_000))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeRollout("key", []byte(value)); err != nil {
			b.Fatal(err)
		}
	}
}

// A rollout that an older waft stored is read, goes on, and is then kept from that waft.
func TestRolloutOfSchemaVersion1(t *testing.T) {
	client := embeddedClient(t)
	if _, err := open(t.Context(), client, 1, nil); err != nil {
		t.Fatal(err)
	}
	want := largeRollout(100)
	old, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(t.Context(), rollouts+want.Name, string(old)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{"", "it goes on"} {
		got, revision, err := s.GetRollout(t.Context(), want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("it is read otherwise, after %q:\n%s", message, diff)
		}
		want.Message = "it goes on"
		if _, err := s.UpdateRollout(t.Context(), want, revision, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := open(t.Context(), client, 1, nil); !errors.Is(err, model.ErrPrecondition) {
		t.Errorf("a waft of schema version 1 opens it: %v", err)
	}
}
