package storetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

func auditAppended(t *testing.T, s service.Store) {
	must(t, s.AppendAudit(t.Context(), nil))
	must(t, s.AppendAudit(t.Context(), []model.AuditEntry{audit("artifact.collect", "artifact/a@1"), audit("artifact.collect", "artifact/b@2")}))
	if err := s.AppendAudit(t.Context(), slices.Repeat([]model.AuditEntry{audit("artifact.collect", "artifact/a@1")}, service.MaxBatch/2+1)); !errors.Is(err, model.ErrInvalid) {
		t.Errorf("more entries than one transaction takes: %v", err)
	}
	all, _, err := s.ListAudit(t.Context(), "", 0, 10)
	must(t, err)
	same(t, "entries", len(all), 2)
	one, _, err := s.ListAudit(t.Context(), "artifact/b@2", 0, 10)
	must(t, err)
	same(t, "entries of one object", len(one), 1)
	same(t, "what comes before", one[0].Previous, all[1].Hash)
}
