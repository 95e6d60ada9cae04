package store

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
)

func secretPrefix(layer model.Layer) string { return secrets + url.QueryEscape(string(layer)) + "/" }

func secretKey(layer model.Layer, name string) string { return secretPrefix(layer) + name }

func secretValueKey(ref model.SecretRef) string {
	return fmt.Sprintf("%s%s/%s/%d/%s", secretValues, url.QueryEscape(string(ref.Layer)), ref.Name, ref.Version, ref.ID)
}

// ListSecrets returns kept secrets, by key, beginning after LAYER\nNAME; of one layer, or of all when it is empty.
func (s *Store) ListSecrets(ctx context.Context, layer model.Layer, after string, limit int) ([]model.KeptSecret, error) {
	under := secrets
	if layer != "" {
		under = secretPrefix(layer)
	}
	from := under
	if last, name, ok := strings.Cut(after, "\n"); ok {
		from = secretKey(model.Layer(last), name) + "\x00"
	}
	got, err := s.client.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(under)), clientv3.WithLimit(int64(limit)))
	if err != nil {
		return nil, failed("secrets", err)
	}
	found := make([]model.KeptSecret, 0, len(got.Kvs))
	for _, kv := range got.Kvs {
		var one model.KeptSecret
		if err := decode(string(kv.Key), kv.Value, &one); err != nil {
			return nil, err
		}
		one.Revision = kv.ModRevision
		found = append(found, one)
	}
	return found, nil
}

// GetSecret returns a kept secret; one without versions, at revision 0, where there is none.
func (s *Store) GetSecret(ctx context.Context, layer model.Layer, name string) (model.KeptSecret, error) {
	one := model.KeptSecret{Layer: layer, Name: name}
	key := secretKey(layer, name)
	got, err := s.client.Get(ctx, key)
	if err != nil {
		return one, failed(one.Object(), err)
	}
	if len(got.Kvs) == 0 {
		return one, nil
	}
	err = decode(key, got.Kvs[0].Value, &one)
	one.Revision = got.Kvs[0].ModRevision
	return one, err
}

// GetSealed returns the sealed value of a version; model.ErrNotFound when there is none.
func (s *Store) GetSealed(ctx context.Context, ref model.SecretRef) ([]byte, error) {
	key := secretValueKey(ref)
	got, err := s.client.Get(ctx, key)
	if err != nil {
		return nil, failed(ref.String(), err)
	}
	if len(got.Kvs) == 0 {
		return nil, noVersion(ref)
	}
	var sealed []byte
	err = decode(key, got.Kvs[0].Value, &sealed)
	return sealed, err
}

func noVersion(ref model.SecretRef) error {
	return &model.Error{Kind: model.ErrNotFound, Object: ref.String(), Message: "there is no such version of the secret", Next: "see waft secret show " + ref.Name + " --layer " + string(ref.Layer)}
}

// HasSealed says whether there is a sealed value.
func (s *Store) HasSealed(ctx context.Context) (bool, error) {
	got, err := s.client.Get(ctx, secretValues, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err != nil {
		return false, failed("secrets", err)
	}
	return len(got.Kvs) > 0, nil
}

// WriteSecret carries out a change of a kept secret, with its audit entry, in one transaction; model.ErrConflict when somebody has changed it meanwhile.
func (s *Store) WriteSecret(ctx context.Context, c model.KeptSecretChange, entry model.AuditEntry) error {
	object, key := c.Secret.Object(), secretKey(c.Secret.Layer, c.Secret.Name)
	row, err := encode(object, c.Secret)
	if err != nil {
		return err
	}
	ops := []clientv3.Op{clientv3.OpPut(key, row)}
	for ref, sealed := range c.Sealed {
		value, err := encode(object, sealed)
		if err != nil {
			return err
		}
		ops = append(ops, clientv3.OpPut(secretValueKey(ref), value))
	}
	for _, ref := range c.Gone {
		ops = append(ops, clientv3.OpDelete(secretValueKey(ref)))
	}
	_, err = s.commit(ctx, []model.AuditEntry{entry}, func(int64) (change, error) {
		return change{
			object:     object,
			conditions: []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", c.Secret.Revision)},
			lost:       &model.Error{Kind: model.ErrConflict, Object: object, Message: "somebody else has changed it meanwhile", Next: "look at it again (waft secret show)"},
			ops:        append([]clientv3.Op(nil), ops...), // commit adds to it
		}, nil
	})
	return err
}

// IsSecretValue says whether a key, as Dump gives it, is that of a sealed value.
func IsSecretValue(key string) bool { return strings.HasPrefix(key, secretValues) }
