package store

import (
	"context"

	"github.com/waft-project/waft/distributor/model"
)

// AppendAudit writes audit entries of what is no part of the store, in one transaction: at most 50 of them; else model.ErrInvalid.
func (s *Store) AppendAudit(ctx context.Context, entries []model.AuditEntry) error {
	if 2*len(entries) > maxBatch {
		return model.Invalidf("audit", "", "write fewer at once", "%d audit entries are more than one transaction takes", len(entries))
	}
	if len(entries) == 0 {
		return nil
	}
	_, err := s.commit(ctx, entries, func(int64) (change, error) { return change{object: "audit"}, nil })
	return err
}

// ListAudit returns audit entries, newest first, of one object or all (empty), and the cursor of the next page; 0 after
// the last.
func (s *Store) ListAudit(ctx context.Context, object string, cursor int64, limit int) ([]model.AuditEntry, int64, error) {
	under := audit
	if object != "" {
		under = objectPrefix(object)
	}
	lines, next, err := s.page(ctx, "audit", under, cursor, limit)
	if err != nil {
		return nil, 0, err
	}
	found := make([]model.AuditEntry, 0, len(lines))
	take := func(key string, value []byte, _ int64) error {
		var entry model.AuditEntry
		if err := decode(key, value, &entry); err != nil {
			return err
		}
		found = append(found, entry)
		return nil
	}
	if object == "" {
		for _, line := range lines {
			if err := take(ordered(audit, line.sequence), line.value, 0); err != nil {
				return nil, 0, err
			}
		}
		return found, next, nil
	}
	keys := make([]string, len(lines))
	for i, line := range lines {
		keys[i] = ordered(audit, line.sequence)
	}
	return found, next, s.each(ctx, "audit", keys, take)
}
