package service

import (
	"context"

	"github.com/waft-project/waft/distributor/model"
)

// ListAudit returns audit entries, newest first, and the token of the next page: those of one object (release/NAME@HASH,
// rollout/NAME, node/ID), or all when object is empty.
func (s *Service) ListAudit(ctx context.Context, object string, page Page) ([]model.AuditEntry, string, error) {
	return list(s, page, func(cursor int64, limit int) ([]model.AuditEntry, int64, error) {
		return s.store.ListAudit(ctx, object, cursor, limit)
	})
}
