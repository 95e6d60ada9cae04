package service

import (
	"context"

	"github.com/waft-project/waft/distributor/model"
)

// ListAudit returns audit entries, newest first, and the token of the next page: those of one object (release/NAME@HASH,
// rollout/NAME, node/ID), or all when object is empty.
func (s *Service) ListAudit(ctx context.Context, object string, page Page) ([]model.AuditEntry, string, error) {
	limit, err := page.limit()
	if err != nil {
		return nil, "", err
	}
	cursor, err := page.cursor()
	if err != nil {
		return nil, "", err
	}
	if err := s.Ready(); err != nil {
		return nil, "", err
	}
	entries, next, err := s.store.ListAudit(ctx, object, cursor, limit)
	if err != nil {
		return nil, "", err
	}
	return entries, cursorToken(next), nil
}
