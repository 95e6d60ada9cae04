package store

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
)

// GetFreeze returns the freeze that was put last, whether it holds yet or not; nil when there is none.
func (s *Store) GetFreeze(ctx context.Context) (*model.Freeze, error) {
	got, err := s.client.Get(ctx, freezeKey)
	if err != nil {
		return nil, failed("freeze", err)
	}
	if len(got.Kvs) == 0 {
		return nil, nil
	}
	var f model.Freeze
	if err := decode(freezeKey, got.Kvs[0].Value, &f); err != nil {
		return nil, err
	}
	return &f, nil
}

// PutFreeze puts a freeze in the place of what there is, or nothing where it is nil, with its audit entry in one transaction.
func (s *Store) PutFreeze(ctx context.Context, f *model.Freeze, audit model.AuditEntry) error {
	op := clientv3.OpDelete(freezeKey)
	if f != nil {
		value, err := encode("freeze", f)
		if err != nil {
			return err
		}
		op = clientv3.OpPut(freezeKey, value)
	}
	_, err := s.commit(ctx, []model.AuditEntry{audit}, func(int64) (change, error) {
		return change{object: "freeze", ops: []clientv3.Op{op}}, nil
	})
	return err
}
