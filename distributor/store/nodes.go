package store

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
)

// PutNodes writes rows and audit entries in one transaction: at most 100 of them, an entry counted twice; else
// model.ErrInvalid.
func (s *Store) PutNodes(ctx context.Context, rows []model.Node, entries []model.AuditEntry) error {
	if len(rows)+2*len(entries) > maxBatch {
		return model.Invalidf("nodes", "", "write fewer at once", "%d rows and %d audit entries are more than one transaction takes", len(rows), len(entries))
	}
	if len(rows) == 0 {
		return nil
	}
	ops := make([]clientv3.Op, len(rows))
	for i, row := range rows {
		value, err := encode("node/"+row.ID, row)
		if err != nil {
			return err
		}
		ops[i] = clientv3.OpPut(nodes+row.ID, value)
	}
	_, err := s.commit(ctx, entries, func(int64) (change, error) {
		return change{object: "nodes", ops: ops}, nil
	})
	return err
}

// ListNodes returns at most limit rows by id, beginning after the id given; from the first when that is empty.
func (s *Store) ListNodes(ctx context.Context, after string, limit int) ([]model.Node, error) {
	from := nodes
	if after != "" {
		from = nodes + after + "\x00"
	}
	got, err := s.client.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(nodes)), clientv3.WithLimit(int64(limit)))
	if err != nil {
		return nil, failed("nodes", err)
	}
	rows := make([]model.Node, len(got.Kvs))
	for i, kv := range got.Kvs {
		if err := decode(string(kv.Key), kv.Value, &rows[i]); err != nil {
			return nil, err
		}
	}
	return rows, nil
}
