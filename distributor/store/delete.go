package store

import (
	"context"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
)

// DeleteNodes removes rows, with audit entries, in one transaction: at most 100 of them, an entry counted twice; else model.ErrInvalid. A row that is
// not there is no error.
func (s *Store) DeleteNodes(ctx context.Context, ids []string, entries []model.AuditEntry) error {
	if len(ids)+2*len(entries) > maxBatch {
		return model.Invalidf("nodes", "", "delete fewer at once", "%d rows and %d audit entries are more than one transaction takes", len(ids), len(entries))
	}
	if len(ids) == 0 {
		return nil
	}
	ops := make([]clientv3.Op, len(ids))
	for i, id := range ids {
		ops[i] = clientv3.OpDelete(nodes + id)
	}
	_, err := s.commit(ctx, entries, func(int64) (change, error) { return change{object: "nodes", ops: ops}, nil })
	return err
}

// DeleteRelease removes a release, with an audit entry; model.ErrNotFound when there is none.
func (s *Store) DeleteRelease(ctx context.Context, id model.ReleaseID, entry model.AuditEntry) error {
	object := "release/" + id.String()
	under := releaseNames + id.Name + "/"
	lines, err := s.client.Get(ctx, under, clientv3.WithPrefix())
	if err != nil {
		return failed(object, err)
	}
	ops := []clientv3.Op{clientv3.OpDelete(releaseKey(id))}
	at := slices.IndexFunc(lines.Kvs, func(kv *mvccpb.KeyValue) bool { return string(kv.Value) == id.Hash })
	if at >= 0 {
		sequence, err := sequenceOf(string(lines.Kvs[at].Key))
		if err != nil {
			return err
		}
		ops = append(ops, clientv3.OpDelete(ordered(under, sequence)), clientv3.OpDelete(ordered(releaseOrder, sequence)))
	}
	_, err = s.commit(ctx, []model.AuditEntry{entry}, func(int64) (change, error) {
		return change{
			object:     object,
			conditions: []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(releaseKey(id)), ">", 0)},
			lost:       notFound(object), ops: ops,
		}, nil
	})
	return err
}

// DeleteRollout removes a rollout that has ended, with an audit entry; model.ErrNotFound when there is none. Its name stays taken.
func (s *Store) DeleteRollout(ctx context.Context, name string, sequence int64, entry model.AuditEntry) error {
	object := "rollout/" + name
	_, err := s.commit(ctx, []model.AuditEntry{entry}, func(int64) (change, error) {
		return change{
			object:     object,
			conditions: []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(rollouts+name), ">", 0)},
			lost:       notFound(object),
			ops: []clientv3.Op{
				clientv3.OpDelete(rollouts + name), clientv3.OpDelete(ordered(rolloutOrder, sequence)),
				clientv3.OpPut(rolloutsGone+name, ""),
			},
		}, nil
	})
	return err
}
