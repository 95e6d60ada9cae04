package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
)

// What is below prefix is the state, whole. Leases and what replicas say of themselves are elsewhere.

const (
	// dumpPage is how many keys one read fetches; a rollout of a large fleet has tens of kilobytes.
	dumpPage = maxGets
	// loadOps and loadBytes bound one transaction of Load; an etcd that runs elsewhere takes 1.5 MiB unless it was told otherwise.
	loadOps   = 100
	loadBytes = 1 << 20
	// restoring is the version of the schema while Load is not done: no waft opens such a store.
	restoring = -1
)

// Dump gives every key of the state with its value, as of one moment, in the order of the keys. What changes meanwhile is not in it. It takes as long as take
// does; where etcd has thrown the moment away before the end it gives model.ErrUnavailable, and what was taken is of no use.
func (s *Store) Dump(ctx context.Context, take func(key string, value []byte) error) error {
	var revision int64
	for from := prefix; ; {
		options := []clientv3.OpOption{clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithLimit(dumpPage)}
		if revision > 0 {
			options = append(options, clientv3.WithRev(revision))
		}
		got, err := s.client.Get(ctx, from, options...)
		if errors.Is(err, rpctypes.ErrCompacted) {
			return &model.Error{Kind: model.ErrUnavailable, Object: "store", Message: "so much was written while it was read that etcd does not have the beginning any more", Next: "try again", Cause: err}
		}
		if err != nil {
			return failed("store", err)
		}
		if revision == 0 {
			revision = got.Header.Revision // that of each answer is etcd's, not the one that was asked for
		}
		for _, kv := range got.Kvs {
			if err := take(string(kv.Key), kv.Value); err != nil {
				return err
			}
			from = string(kv.Key) + "\x00"
		}
		if !got.More {
			return nil
		}
	}
}

// Load fills an empty store with what Dump gave: next gives one key after the other, and ok false after the last. A store that holds anything is refused with
// model.ErrConflict, and nothing is written. One that was begun and not ended is opened by no waft, until what is below prefix is deleted.
func Load(ctx context.Context, client *clientv3.Client, next func() (key string, value []byte, ok bool, err error)) error {
	mark, err := encode(schemaKey, schema{Version: restoring})
	if err != nil {
		return err
	}
	has, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err != nil {
		return failed("store", err)
	}
	full := len(has.Kvs) > 0
	if !full {
		begun, err := client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(schemaKey), "=", 0)).Then(clientv3.OpPut(schemaKey, mark)).Commit()
		if err != nil {
			return failed("store", err)
		}
		full = !begun.Succeeded // somebody was faster
	}
	if full {
		return &model.Error{Kind: model.ErrConflict, Object: "store", Message: "it is not empty, and a backup is restored only where nothing is",
			Next: "name another etcd, or delete what is below " + prefix + " in this one if nobody needs it"}
	}
	var ops []clientv3.Op
	var size int
	write := func() error {
		if len(ops) == 0 {
			return nil
		}
		_, err := client.Txn(ctx).Then(ops...).Commit()
		ops, size = ops[:0], 0
		return failed("store", err)
	}
	var last string // the schema's own value
	for {
		key, value, ok, err := next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if !strings.HasPrefix(key, prefix) {
			return model.Invalidf("store", "", "use another backup", "key %.255q is not below %s", key, prefix)
		}
		if key == schemaKey {
			last = string(value)
			continue
		}
		if len(ops) == loadOps || len(ops) > 0 && size+len(key)+len(value) > loadBytes {
			if err := write(); err != nil {
				return err
			}
		}
		ops = append(ops, clientv3.OpPut(key, string(value)))
		size += len(key) + len(value)
	}
	if err := write(); err != nil {
		return err
	}
	if last == "" {
		return model.Invalidf("store", "", "use another backup", "the backup has no %s", schemaKey)
	}
	var have schema
	if err := decode(schemaKey, []byte(last), &have); err != nil {
		return err
	}
	if have.Version < 1 {
		return fmt.Errorf("the backup's schema version %d is damaged", have.Version)
	}
	_, err = client.Put(ctx, schemaKey, last)
	return failed("store", err)
}
