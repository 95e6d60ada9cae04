package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
)

// schemaVersion is the layout of keys and values that this version of waft reads and writes.
const schemaVersion = 5

// migration brings the data from one version to the next. It must do no harm when it is run again after it was cut short. Each of its transactions holds only
// while the store is at the version that it comes from, which still says: a process that was halted in the middle must not go on when another one has done it
// and written since.
type migration func(ctx context.Context, client *clientv3.Client, still clientv3.Cmp) error

// migrations[n-1] leads from version n to n+1.
var migrations = []migration{packedRollouts, sealedAudit, releasesWithResources, keptSecrets}

// packedRollouts leads to version 2, in which rollouts are stored as rolloutValue has them. Those of version 1 are read as they are; the version
// keeps them from a waft that would find no nodes in those of today.
func packedRollouts(context.Context, *clientv3.Client, clientv3.Cmp) error { return nil }

// sealedAudit leads to version 3, in which each entry of the audit log holds the hash of the one before. It seals those that are there, as they are.
func sealedAudit(ctx context.Context, client *clientv3.Client, still clientv3.Cmp) error {
	var head model.AuditHead
	for from := audit; ; {
		got, err := client.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(audit)), clientv3.WithLimit(maxBatch))
		if err != nil {
			return failed("audit", err)
		}
		if len(got.Kvs) == 0 {
			break
		}
		ops := make([]clientv3.Op, len(got.Kvs))
		for i, kv := range got.Kvs {
			var entry model.AuditEntry
			key := string(kv.Key)
			if err := decode(key, kv.Value, &entry); err != nil {
				return err
			}
			if entry.Sequence != head.Sequence+1 {
				return fmt.Errorf("%s is entry %d of the audit log, and what is before it is entry %d", key, entry.Sequence, head.Sequence)
			}
			if entry, err = entry.Seal(head); err != nil {
				return err
			}
			head = entry.Head()
			value, err := encode(key, entry)
			if err != nil {
				return err
			}
			ops[i] = clientv3.OpPut(key, value)
			from = key + "\x00"
		}
		if err := stillThen(ctx, client, still, ops...); err != nil {
			return err
		}
	}
	if head == (model.AuditHead{}) {
		return nil
	}
	// The sequence of the last entry had a key of its own.
	return stillThen(ctx, client, still, clientv3.OpPut(headKey, head.String()), clientv3.OpDelete(prefix+"sequence"))
}

// stillThen is one transaction of a migration.
func stillThen(ctx context.Context, client *clientv3.Client, still clientv3.Cmp, ops ...clientv3.Op) error {
	answer, err := client.Txn(ctx).If(still).Then(ops...).Commit()
	if err != nil {
		return failed("store", err)
	}
	if !answer.Succeeded {
		return &model.Error{Kind: model.ErrUnavailable, Object: "store", Message: "another process has brought it to its schema meanwhile", Next: "try again"}
	}
	return nil
}

// releasesWithResources leads to version 4, in which releases may have resources. The version keeps them from a waft that would render chains without.
func releasesWithResources(context.Context, *clientv3.Client, clientv3.Cmp) error { return nil }

// keptSecrets leads to version 5, in which releases may name secrets that the distributor keeps. The version keeps them from a waft that would give nodes chains without.
func keptSecrets(context.Context, *clientv3.Client, clientv3.Cmp) error { return nil }

// schema is the value of schemaKey.
type schema struct {
	Version int `json:"version"`
}

// migrate brings the store to version, or says why not. An empty store gets the version written.
func migrate(ctx context.Context, client *clientv3.Client, version int, steps []migration) error {
	for {
		got, err := client.Get(ctx, schemaKey)
		if err != nil {
			return failed("store", err)
		}
		var have schema
		var revision int64
		if len(got.Kvs) > 0 {
			revision = got.Kvs[0].ModRevision
			if err := decode(schemaKey, got.Kvs[0].Value, &have); err != nil {
				return err
			}
		}
		switch {
		case have.Version == version:
			return nil
		case have.Version > version:
			return &model.Error{Kind: model.ErrPrecondition, Object: "store",
				Message: fmt.Sprintf("its data has schema version %d, written by a newer waft; this one knows versions up to %d", have.Version, version),
				Next:    "run the newer waft, or restore a backup from before the upgrade"}
		case have.Version == restoring:
			return &model.Error{Kind: model.ErrPrecondition, Object: "store", Message: "a backup was being restored into it, and that did not end",
				Next: "delete what is below " + prefix + " in etcd, and restore again"}
		case have.Version < 0 || have.Version == 0 && revision != 0:
			return fmt.Errorf("the store's schema version %d is damaged", have.Version)
		}
		next := schema{Version: version}
		if have.Version > 0 {
			if err := steps[have.Version-1](ctx, client, clientv3.Compare(clientv3.ModRevision(schemaKey), "=", revision)); err != nil {
				return fmt.Errorf("migrate the store from schema version %d to %d: %w", have.Version, have.Version+1, err)
			}
			next.Version = have.Version + 1
		}
		value, err := encode(schemaKey, next)
		if err != nil {
			return err
		}
		// Whoever loses the race looks again.
		if _, err := client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(schemaKey), "=", revision)).
			Then(clientv3.OpPut(schemaKey, value)).Commit(); err != nil {
			return failed("store", err)
		}
	}
}
