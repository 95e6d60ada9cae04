package service_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// Nodes are found by how they stand, page by page: each page is full, whoever else lies between.
func TestNodesAreFoundByHowTheyStand(t *testing.T) {
	s, nodes := settled(t, 4)
	svc, _ := s.service()
	lost := nodes[1]
	lost.behave("good:1", behaviour{reject: "no such import"})
	s.release("two", "good:2")
	if _, err := s.try("second", "two", "env=prod", long(all)); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutSoaking)
	if _, err := svc.Undo(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutRolledBack)
	waits := s.sim(service.NodeHello{ID: "w", Labels: map[string]string{"env": "none"}, Reports: true, EnvoyVersion: "1.40.0"})
	silent := s.sim(service.NodeHello{ID: "q", Labels: map[string]string{"env": "none"}})
	s.known(waits, silent)
	nodes[3].disconnect()
	s.eventually("n3 is away", func() bool {
		n, err := svc.GetNode(t.Context(), "n3")
		return err == nil && n.Presence == service.PresenceUnknown
	})
	find := func(selector string, states ...service.NodeStanding) string {
		t.Helper()
		var ids []string
		for page := (service.Page{Size: 1}); ; {
			list, next, err := svc.ListNodes(t.Context(), selector, page, states...)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 && len(ids) > 0 {
				t.Errorf("%v: a page has nothing", states)
			}
			for _, n := range list {
				ids = append(ids, n.ID)
			}
			if page.Token = next; next == "" {
				return strings.Join(ids, " ")
			}
		}
	}
	for _, tc := range []struct {
		selector string
		states   []service.NodeStanding
		want     string
	}{
		{"", nil, "n0 n1 n2 n3 q w"},
		{"", []service.NodeStanding{"serving"}, "n0 n2 n3"},
		{"", []service.NodeStanding{"rejected"}, "n1"},
		{"", []service.NodeStanding{service.NodeIsIsolated}, "n1"},
		{"", []service.NodeStanding{service.NodeIsWaiting}, "q w"},
		{"", []service.NodeStanding{service.NodeIsNotServing}, "n1 w"},
		{"", []service.NodeStanding{"unknown"}, "n3"},
		{"", []service.NodeStanding{"connected"}, "n0 n1 n2 q w"},
		{"", []service.NodeStanding{"degraded", "loaded", "fetched", "offered"}, ""},
		{"", []service.NodeStanding{"unknown", "rejected", "waiting"}, "n1 n3 q w"},
		{"env=prod", []service.NodeStanding{"unknown", "rejected", "waiting"}, "n1 n3"},
	} {
		if got := find(tc.selector, tc.states...); got != tc.want {
			t.Errorf("%q in %v: %q, want %q", tc.selector, tc.states, got, tc.want)
		}
	}
	_, _, err := svc.ListNodes(t.Context(), "", service.Page{}, "serving", "broken")
	wantKind(t, err, model.ErrInvalid, `"broken" is no state`, "isolated", "not-serving")
	if words := service.NodeStandings(); len(words) != 11 || !slices.Contains(words, "degraded") {
		t.Errorf("the words are %v", words)
	}
}
