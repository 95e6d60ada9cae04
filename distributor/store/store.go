package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
)

// Limits of one transaction.
const (
	// maxBatch is how many rows of nodes one PutNodes may write, an audit entry counted twice (itself and its index).
	maxBatch = 100
	// maxGets is how many values one read fetches.
	maxGets = 50
)

// Store is the store over a client of etcd. It may be used concurrently.
type Store struct {
	client *clientv3.Client
	// writing is held by the writer that continues the audit log, so that writers of this process do not overtake each other.
	// Those of other processes are kept apart by the comparison in each transaction.
	writing chan struct{}
	// head is the audit log's, and headRevision the revision at which it was written, as last seen; writing guards them.
	head         model.AuditHead
	headRevision int64
	// fence must stand for each write.
	fence Fence
}

// Open makes a Store over a client, which stays the caller's to close. It brings older data to this version's schema, and
// refuses data of a newer one with model.ErrPrecondition.
func Open(ctx context.Context, client *clientv3.Client) (*Store, error) {
	return open(ctx, client, schemaVersion, migrations)
}

// Look makes a Store for reading over a client, where there is one of this version's schema, and brings nothing to it: that is for whoever leads. Where there is none yet
// it is a model.ErrNotFound, and where another version of waft keeps it a model.ErrPrecondition.
func Look(ctx context.Context, client *clientv3.Client) (*Store, error) {
	got, err := client.Get(ctx, schemaKey)
	if err != nil {
		return nil, failed("store", err)
	}
	if len(got.Kvs) == 0 {
		return nil, notFound("schema")
	}
	var have schema
	if err := decode(schemaKey, got.Kvs[0].Value, &have); err != nil {
		return nil, err
	}
	if have.Version != schemaVersion {
		return nil, &model.Error{Kind: model.ErrPrecondition, Object: "store", Message: fmt.Sprintf("its data has schema version %d, and this waft reads version %d", have.Version, schemaVersion),
			Next: "run the same waft everywhere"}
	}
	return &Store{client: client, writing: make(chan struct{}, 1)}, nil
}

func open(ctx context.Context, client *clientv3.Client, version int, steps []migration) (*Store, error) {
	if err := migrate(ctx, client, version, steps); err != nil {
		return nil, err
	}
	return &Store{client: client, writing: make(chan struct{}, 1)}, nil
}

// failed turns what the client says into an error of package model.
func failed(object string, err error) error {
	if err == nil {
		return nil
	}
	if refused := refusal(err); refused != nil {
		return refused // what object was about to be done matters less
	}
	out := &model.Error{Kind: model.ErrUnavailable, Object: object, Message: "the store did not answer: " + err.Error(),
		Next: "check etcd, then try again", Cause: err}
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		out.Message = "the store is full: etcd's quota is used up"
		out.Next = "wait a minute: the past is thrown away, and what that frees; if it is still full then, give etcd a larger quota, or find out what fills it (waft_store_in_use_bytes)"
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps):
		out.Kind, out.Message, out.Next = model.ErrInvalid, "etcd refuses the size of the change: "+err.Error(), "make it smaller"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		out.Message, out.Next = "the store did not answer in time: "+err.Error(), "try again"
	}
	return out
}

func notFound(object string) error {
	return &model.Error{Kind: model.ErrNotFound, Object: object, Message: "is not in the store", Next: "check the name"}
}

// change is what one transaction does besides its audit entries.
type change struct {
	object string
	// conditions must hold; if one does not, lost is the error.
	conditions []clientv3.Cmp
	lost       error
	ops        []clientv3.Op
}

// commit carries out a change with its audit entries in one transaction, and returns its revision. make is given the
// sequence of the first entry, which is the change's own, and is called again when another process took that sequence.
func (s *Store) commit(ctx context.Context, entries []model.AuditEntry, make func(sequence int64) (change, error)) (int64, error) {
	ctx, cancel := s.writeContext(ctx)
	defer cancel()
	if len(entries) == 0 {
		c, err := make(0)
		if err != nil {
			return 0, err
		}
		answer, err := s.client.Txn(ctx).If(s.conditions(c.conditions...)...).Then(c.ops...).Commit()
		if err != nil {
			return 0, failed(c.object, err)
		}
		if !answer.Succeeded {
			if err := s.deposed(ctx, c.object); err != nil {
				return 0, err
			}
			return 0, c.lost
		}
		return answer.Header.Revision, nil
	}

	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
		return 0, failed("store", ctx.Err())
	}
	for {
		c, err := make(s.head.Sequence + 1)
		if err != nil {
			return 0, err
		}
		ops, head := c.ops, s.head
		for _, entry := range entries {
			if entry, err = entry.Seal(head); err != nil {
				return 0, err
			}
			head = entry.Head()
			value, err := encode(c.object, entry)
			if err != nil {
				return 0, err
			}
			ops = append(ops, clientv3.OpPut(ordered(audit, entry.Sequence), value),
				clientv3.OpPut(ordered(objectPrefix(entry.Object), entry.Sequence), ""))
		}
		ops = append(ops, clientv3.OpPut(headKey, head.String()))
		conditions := s.conditions(append([]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(headKey), "=", s.headRevision)}, c.conditions...)...)
		answer, err := s.client.Txn(ctx).If(conditions...).Then(ops...).Else(clientv3.OpGet(headKey)).Commit()
		if err != nil {
			return 0, failed(c.object, err)
		}
		if answer.Succeeded {
			s.head, s.headRevision = head, answer.Header.Revision
			return answer.Header.Revision, nil
		}
		kvs := answer.Responses[0].GetResponseRange().Kvs
		head, revision := model.AuditHead{}, int64(0)
		if len(kvs) > 0 {
			revision = kvs[0].ModRevision
			if head, err = model.ParseAuditHead(string(kvs[0].Value)); err != nil {
				return 0, fmt.Errorf("the value of %s is damaged: %w", headKey, err)
			}
		}
		if err := s.deposed(ctx, c.object); err != nil {
			return 0, err
		}
		if revision == s.headRevision {
			return 0, c.lost // the head was right, so a condition was not
		}
		s.head, s.headRevision = head, revision
	}
}

// page reads one page of an index that ends with sequences, newest first, and the cursor of the next.
func (s *Store) page(ctx context.Context, object, under string, cursor int64, limit int) ([]entry, int64, error) {
	end := clientv3.GetPrefixRangeEnd(under)
	if cursor > 0 {
		end = ordered(under, cursor)
	}
	// One more than asked for shows whether there is another page.
	got, err := s.client.Get(ctx, under, clientv3.WithRange(end), clientv3.WithLimit(int64(limit)+1),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	if err != nil {
		return nil, 0, failed(object, err)
	}
	entries := make([]entry, 0, len(got.Kvs))
	for _, kv := range got.Kvs {
		sequence, err := sequenceOf(string(kv.Key))
		if err != nil {
			return nil, 0, err
		}
		entries = append(entries, entry{sequence: sequence, value: kv.Value})
	}
	if len(entries) <= limit {
		return entries, 0, nil
	}
	entries = entries[:limit]
	return entries, entries[limit-1].sequence, nil
}

// entry is one line of an index.
type entry struct {
	sequence int64
	value    []byte
}

// each reads the values of keys, a few at a time, and gives them to take in the same order; a key that is not there is
// left out.
func (s *Store) each(ctx context.Context, object string, keys []string, take func(key string, value []byte, revision int64) error) error {
	for len(keys) > 0 {
		part := keys[:min(len(keys), maxGets)]
		keys = keys[len(part):]
		ops := make([]clientv3.Op, len(part))
		for i, key := range part {
			ops[i] = clientv3.OpGet(key)
		}
		answer, err := s.client.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			return failed(object, err)
		}
		for _, response := range answer.Responses {
			for _, kv := range response.GetResponseRange().Kvs {
				if err := take(string(kv.Key), kv.Value, kv.ModRevision); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
