package store

import (
	"context"

	"github.com/waft-project/waft/distributor/model"
)

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
