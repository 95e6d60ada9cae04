package store

import (
	"context"
	"crypto/rand"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// identityKey is beside the state, so that no backup has it: what is restored from one is a store of its own.
const identityKey = "/waft/store"

// Identity tells this store from every other one, for as long as its etcd has it. It is made when it is first asked for.
func (s *Store) Identity(ctx context.Context) (string, error) {
	answer, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(identityKey), "=", 0)).
		Then(clientv3.OpPut(identityKey, rand.Text()), clientv3.OpGet(identityKey)).
		Else(clientv3.OpGet(identityKey)).Commit()
	if err != nil {
		return "", failed("store", err)
	}
	got := answer.Responses[len(answer.Responses)-1].GetResponseRange().Kvs
	return string(got[0].Value), nil // one transaction reads what it wrote
}
