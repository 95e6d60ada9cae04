package service

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// Whatever nodes say and whatever happens to them, the picture that is kept is the one that would be made anew.
func TestPictureIsAsIfMadeAnew(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { comparePictures(t, rand.New(rand.NewPCG(seed, 3))) })
	}
}

func comparePictures(t *testing.T, random *rand.Rand) {
	s, e := midway(t, 30)
	// The wave is compared with the nodes that have not moved, so that what these served lately is in the picture, too.
	e.state.Spec.Waves[4].Gates = append(e.state.Spec.Waves[4].Gates, model.GateSpec{Comparison: &model.ComparisonGate{Of: model.ComparedErrors, MaxIncrease: 1}})
	for id, release := range s.releases {
		if id.Name == "after" {
			release.ID.Name = "other"
			s.releases[release.ID] = release
		}
	}
	before, other := model.ReleaseID{Name: "before"}, model.ReleaseID{Name: "other"}
	for id := range s.releases {
		switch id.Name {
		case before.Name:
			before = id
		case other.Name:
			other = id
		}
	}
	ids := make([]string, 0, len(s.nodes))
	for id := range s.nodes {
		ids = append(ids, id)
	}
	blocker, err := newEntry(rollout.New("blocker", "team/edge", model.RolloutSpec{Release: other, Selector: "env=prod"}, rollout.By{Actor: "mo"}, s.now()), 1)
	if err != nil {
		t.Fatal(err)
	}
	now := s.now()
	s.now = func() time.Time { return now }
	for range 300 {
		n := s.nodes[ids[random.IntN(len(ids))]]
		switch random.IntN(14) {
		case 0:
			s.report(n, ChainReport{Chain: n.chain.Hash, State: model.ChainServing, Serving: n.chain.Hash})
		case 1:
			s.report(n, ChainReport{Chain: n.chain.Hash, State: model.ChainRejected, Reason: "no", Final: true})
		case 2:
			for session := range n.sessions {
				session.Statistics(model.Statistics{Chain: n.row.Serving, Requests: random.Int64N(1000)})
			}
		case 3:
			for session := range n.sessions {
				session.Close()
			}
		case 4:
			n.opened(&Session{service: s, node: n, reports: random.IntN(2) == 0, directives: make(chan Directive, 1), done: make(chan struct{})})
		case 5:
			for session := range n.sessions {
				session.Fetched(nil, nil)
				session.EnvoyRestarted(now, "a test")
			}
		case 6:
			s.introduce(n, NodeHello{Reports: true, Labels: n.row.Labels, EnvoyVersion: []string{"1.30.0", "1.40.0"}[random.IntN(2)]})
		case 7:
			if _, err := s.assign(n, "team/edge", other, true, model.Cohort{}, model.Move{}); err != nil {
				t.Fatal(err)
			}
		case 8:
			if _, err := s.assign(n, model.LayerGlobal, before, true, model.Cohort{}, model.Move{}); err != nil {
				t.Fatal(err)
			}
		case 9:
			n.row.Isolated = &model.Isolation{Reason: "a test"}
			s.mark(n, 0)
		case 10:
			if err := s.flushAll(t.Context()); err != nil {
				t.Fatal(err)
			}
		case 11:
			blocker.state.Nodes = map[string]model.NodeProgress{n.row.ID: {State: model.NodeMoving, MovedAt: now}}
			blocker.state.Phase = model.RolloutMoving
			if s.active = s.active[:1]; random.IntN(2) == 0 {
				s.active = append(s.active, blocker)
			}
		case 12:
			now = now.Add(time.Second)
		case 13:
			after, _, err := rollout.Step(e.state, mustObserve(t, s, e), now)
			if err != nil {
				t.Fatal(err)
			}
			if e.state = after; !e.running() || e.state.Phase != model.RolloutSoaking {
				return // what it is about is over
			}
		}
		if random.IntN(3) > 0 {
			continue
		}
		got := mustObserve(t, s, e)
		kept := e.picture
		e.picture = picture{}
		outlooks := map[*node]outlook{}
		for _, n := range s.nodes {
			outlooks[n], n.outlook = n.outlook, outlook{}
		}
		want := mustObserve(t, s, e)
		e.picture = kept
		for n, o := range outlooks {
			n.outlook = o
		}
		got.Memo, want.Memo = nil, nil
		if !reflect.DeepEqual(got, want) {
			for i := range got.Nodes {
				old, anew := reflect.ValueOf(got.Nodes[i]), reflect.ValueOf(want.Nodes[i])
				for f := range old.NumField() {
					if !reflect.DeepEqual(old.Field(f).Interface(), anew.Field(f).Interface()) {
						t.Errorf("%s of %s is %+v, anew %+v", old.Type().Field(f).Name, got.Nodes[i].ID, old.Field(f), anew.Field(f))
					}
				}
			}
			t.FailNow()
		}
	}
}

func mustObserve(t *testing.T, s *Service, e *entry) rollout.Observe {
	t.Helper()
	event, err := s.observation(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return event
}
