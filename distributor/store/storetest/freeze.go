package storetest

import (
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

func freezePut(t *testing.T, s service.Store) {
	wants := func(want *model.Freeze) {
		t.Helper()
		got, err := s.GetFreeze(t.Context())
		must(t, err)
		same(t, "freeze", got, want)
	}
	wants(nil)
	for _, f := range []*model.Freeze{
		{Actor: "ann", Reason: "incident", Since: at(1)}, {Actor: "bea", Reason: "another", Since: at(2), Until: at(3)}, nil, nil, {Actor: "ann", Reason: "again", Since: at(4)},
	} {
		must(t, s.PutFreeze(t.Context(), f, audit("rollouts.freeze", "rollouts")))
		wants(f)
	}
	entries, _, err := s.ListAudit(t.Context(), "rollouts", 0, 10)
	must(t, err)
	same(t, "audit entries", len(entries), 5)
}
