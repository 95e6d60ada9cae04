package store

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
)

// CreateRollout stores a rollout whose name is free, with the sequence of its audit entry as its own, and returns it with
// its revision; model.ErrExists when the name is taken, also by one that was deleted. It needs an audit entry.
func (s *Store) CreateRollout(ctx context.Context, rollout model.Rollout, entries []model.AuditEntry) (model.Rollout, int64, error) {
	object := "rollout/" + rollout.Name
	if len(entries) == 0 {
		return model.Rollout{}, 0, model.Invalidf(object, "", "give one", "a new rollout needs an audit entry")
	}
	revision, err := s.commit(ctx, entries, func(sequence int64) (change, error) {
		rollout.Sequence = sequence
		value, err := encodeRollout(rollout)
		if err != nil {
			return change{}, err
		}
		return change{
			object: object,
			conditions: []clientv3.Cmp{
				clientv3.Compare(clientv3.CreateRevision(rollouts+rollout.Name), "=", 0),
				clientv3.Compare(clientv3.CreateRevision(rolloutsGone+rollout.Name), "=", 0),
			},
			lost: &model.Error{Kind: model.ErrExists, Object: object, Message: "the name is taken", Next: "choose another"},
			ops: []clientv3.Op{
				clientv3.OpPut(rollouts+rollout.Name, value),
				clientv3.OpPut(ordered(rolloutOrder, sequence), rollout.Name),
			},
		}, nil
	})
	if err != nil {
		return model.Rollout{}, 0, err
	}
	return rollout, revision, nil
}

// UpdateRollout replaces a rollout if its revision is still the one given, and returns the new one; model.ErrConflict when
// it is not, model.ErrNotFound when there is no such rollout.
func (s *Store) UpdateRollout(ctx context.Context, rollout model.Rollout, revision int64, entries []model.AuditEntry) (int64, error) {
	object := "rollout/" + rollout.Name
	value, err := encodeRollout(rollout)
	if err != nil {
		return 0, err
	}
	if revision == 0 {
		return 0, notFound(object)
	}
	lost := &model.Error{Kind: model.ErrConflict, Object: object, Message: "somebody else has changed it meanwhile", Next: "look at it again"}
	next, err := s.commit(ctx, entries, func(int64) (change, error) {
		return change{
			object:     object,
			conditions: []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(rollouts+rollout.Name), "=", revision)},
			lost:       lost,
			ops:        []clientv3.Op{clientv3.OpPut(rollouts+rollout.Name, value)},
		}, nil
	})
	if err == lost { //nolint:errorlint // the very value: was it this condition?
		if _, _, getErr := s.GetRollout(ctx, rollout.Name); getErr != nil {
			return 0, getErr
		}
	}
	return next, err
}

// GetRollout returns a rollout and its revision; model.ErrNotFound when there is none.
func (s *Store) GetRollout(ctx context.Context, name string) (model.Rollout, int64, error) {
	object := "rollout/" + name
	got, err := s.client.Get(ctx, rollouts+name)
	if err != nil {
		return model.Rollout{}, 0, failed(object, err)
	}
	if len(got.Kvs) == 0 {
		return model.Rollout{}, 0, notFound(object)
	}
	rollout, err := decodeRollout(rollouts+name, got.Kvs[0].Value)
	return rollout, got.Kvs[0].ModRevision, err
}

// ListRollouts returns rollouts, newest first, and the cursor of the next page; 0 after the last.
func (s *Store) ListRollouts(ctx context.Context, cursor int64, limit int) ([]model.Rollout, int64, error) {
	lines, next, err := s.page(ctx, "rollouts", rolloutOrder, cursor, limit)
	if err != nil {
		return nil, 0, err
	}
	keys := make([]string, len(lines))
	for i, line := range lines {
		keys[i] = rollouts + string(line.value)
	}
	found := make([]model.Rollout, 0, len(keys))
	err = s.each(ctx, "rollouts", keys, func(key string, value []byte, _ int64) error {
		rollout, err := decodeRollout(key, value)
		if err != nil {
			return err
		}
		found = append(found, rollout)
		return nil
	})
	return found, next, err
}
