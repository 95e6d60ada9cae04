package store

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
)

// fencedTimeout bounds one write of a leader among several. A write that was under way when the leader of etcd itself went is lost, and etcd says so after 7 s only;
// whoever leads cannot wait for that, and tries again as after any write of which nothing was heard.
const fencedTimeout = 2 * time.Second

// Fence keeps a leader that does not know yet that it is none from writing: each write is done only while the key is there with that create revision,
// which is what etcd's election gives a leader. The zero value keeps nobody from anything.
type Fence struct {
	Key      string
	Revision int64
}

// Fenced is the same store whose writes need that the fence stands; without it they fail with model.ErrUnavailable.
func (s *Store) Fenced(f Fence) *Store {
	return &Store{client: s.client, writing: make(chan struct{}, 1), fence: f}
}

// writeContext bounds a write.
func (s *Store) writeContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.fence.Key == "" {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, fencedTimeout)
}

// conditions are those of a write, with the fence's.
func (s *Store) conditions(own ...clientv3.Cmp) []clientv3.Cmp {
	if s.fence.Key == "" {
		return own
	}
	return append([]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(s.fence.Key), "=", s.fence.Revision)}, own...)
}

// deposed is the error of a write that was not done because the fence is gone; nil where it stands. Asked after a transaction whose conditions did not hold.
func (s *Store) deposed(ctx context.Context, object string) error {
	if s.fence.Key == "" {
		return nil
	}
	got, err := s.client.Get(ctx, s.fence.Key)
	if err != nil {
		return failed(object, err)
	}
	if len(got.Kvs) > 0 && got.Kvs[0].CreateRevision == s.fence.Revision {
		return nil
	}
	return &model.Error{Kind: model.ErrUnavailable, Object: object, Message: "was not changed: another replica leads now", Next: "try again in a moment"}
}
