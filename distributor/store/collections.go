package store

import (
	"context"
	"net/url"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
)

// collectionKey escapes both names: a layer and a collection may have slashes.
func collectionKey(layer model.Layer, name string) string {
	return layerPrefix(layer) + url.QueryEscape(name)
}

func layerPrefix(layer model.Layer) string { return collections + url.QueryEscape(string(layer)) + "/" }

// ListCollections returns what layers have stored, by key, beginning after LAYER\nNAME; of one layer, or of all when it is empty.
func (s *Store) ListCollections(ctx context.Context, layer model.Layer, after string, limit int) ([]model.LayerCollection, error) {
	under := collections
	if layer != "" {
		under = layerPrefix(layer)
	}
	from := under
	if last, name, ok := strings.Cut(after, "\n"); ok {
		from = collectionKey(model.Layer(last), name) + "\x00"
	}
	got, err := s.client.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(under)), clientv3.WithLimit(int64(limit)))
	if err != nil {
		return nil, failed("collections", err)
	}
	found := make([]model.LayerCollection, 0, len(got.Kvs))
	for _, kv := range got.Kvs {
		var c model.LayerCollection
		if err := decode(string(kv.Key), kv.Value, &c); err != nil {
			return nil, err
		}
		c.Revision = kv.ModRevision
		found = append(found, c)
	}
	return found, nil
}

// GetCollection returns what a layer has stored of a collection; nothing, at revision 0, where it has nothing.
func (s *Store) GetCollection(ctx context.Context, layer model.Layer, name string) (model.LayerCollection, error) {
	key := collectionKey(layer, name)
	got, err := s.client.Get(ctx, key)
	if err != nil {
		return model.LayerCollection{}, failed("collection/"+name, err)
	}
	c := model.LayerCollection{Layer: layer, Name: name}
	if len(got.Kvs) == 0 {
		return c, nil
	}
	err = decode(key, got.Kvs[0].Value, &c)
	c.Revision = got.Kvs[0].ModRevision
	return c, err
}

// ListDeclarations returns all declarations, by name.
func (s *Store) ListDeclarations(ctx context.Context) ([]model.DeclaredCollection, error) {
	got, err := s.client.Get(ctx, declarations, clientv3.WithPrefix())
	if err != nil {
		return nil, failed("collections", err)
	}
	found := make([]model.DeclaredCollection, 0, len(got.Kvs))
	for _, kv := range got.Kvs {
		var d model.DeclaredCollection
		if err := decode(string(kv.Key), kv.Value, &d); err != nil {
			return nil, err
		}
		d.Revision = kv.ModRevision
		found = append(found, d)
	}
	return found, nil
}

// WriteCollections carries out changes in one transaction; model.ErrConflict when one of them is not of what is there.
func (s *Store) WriteCollections(ctx context.Context, changes model.CollectionChanges, entries []model.AuditEntry) error {
	if n := len(changes.Collections) + len(changes.Declarations); n+2*len(entries) > maxBatch {
		return model.Invalidf("collections", "", "apply fewer collections at once", "%d collections and %d audit entries are more than one transaction takes", n, len(entries))
	}
	var c change
	swap := func(key string, revision int64, gone bool, value string) {
		c.conditions = append(c.conditions, clientv3.Compare(clientv3.ModRevision(key), "=", revision))
		if gone {
			c.ops = append(c.ops, clientv3.OpDelete(key))
			return
		}
		c.ops = append(c.ops, clientv3.OpPut(key, value))
	}
	for _, one := range changes.Collections {
		object := "collection/" + one.Name
		value, err := encode(object, one)
		if err != nil {
			return err
		}
		swap(collectionKey(one.Layer, one.Name), one.Revision, len(one.Resources) == 0, value)
		c.object = object
	}
	for _, one := range changes.Declarations {
		object := "collection/" + one.Name
		value, err := encode(object, one)
		if err != nil {
			return err
		}
		swap(declarations+url.QueryEscape(one.Name), one.Revision, one.Version == "", value)
		c.object = object
	}
	if len(c.ops) == 0 {
		return nil
	}
	c.lost = &model.Error{Kind: model.ErrConflict, Object: c.object, Message: "somebody else has changed it meanwhile", Next: "look at it again"}
	_, err := s.commit(ctx, entries, func(int64) (change, error) {
		fresh := c
		fresh.ops = append([]clientv3.Op(nil), c.ops...) // commit adds to it
		return fresh, nil
	})
	return err
}

// PutTypes stores a descriptor set and registers it; model.ErrConflict when the name does not have the revision given.
func (s *Store) PutTypes(ctx context.Context, set model.TypeSet, content []byte, entry model.AuditEntry) error {
	object := "types/" + set.Name
	value, err := encode(object, set)
	if err != nil {
		return err
	}
	packed, err := encode(object, content)
	if err != nil {
		return err
	}
	key := typeSets + set.Name
	_, err = s.commit(ctx, []model.AuditEntry{entry}, func(int64) (change, error) {
		return change{
			object:     object,
			conditions: []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", set.Revision)},
			lost:       &model.Error{Kind: model.ErrConflict, Object: object, Message: "somebody else has registered it meanwhile", Next: "look at it again (waft types list)"},
			ops:        []clientv3.Op{clientv3.OpPut(key, value), clientv3.OpPut(descriptorSets+set.Digest, packed)},
		}, nil
	})
	return err
}

// ListTypes returns the registered descriptor sets, by name.
func (s *Store) ListTypes(ctx context.Context) ([]model.TypeSet, error) {
	got, err := s.client.Get(ctx, typeSets, clientv3.WithPrefix())
	if err != nil {
		return nil, failed("types", err)
	}
	found := make([]model.TypeSet, 0, len(got.Kvs))
	for _, kv := range got.Kvs {
		var set model.TypeSet
		if err := decode(string(kv.Key), kv.Value, &set); err != nil {
			return nil, err
		}
		set.Revision = kv.ModRevision
		found = append(found, set)
	}
	return found, nil
}

// GetDescriptors returns a descriptor set; model.ErrNotFound when there is none of that digest.
func (s *Store) GetDescriptors(ctx context.Context, digest string) ([]byte, error) {
	object := "descriptors/" + digest
	got, err := s.client.Get(ctx, descriptorSets+digest)
	if err != nil {
		return nil, failed(object, err)
	}
	if len(got.Kvs) == 0 {
		return nil, notFound(object)
	}
	var content []byte
	if err := decode(descriptorSets+digest, got.Kvs[0].Value, &content); err != nil {
		return nil, err
	}
	if model.Digest(content) != digest {
		return nil, &model.Error{Kind: model.ErrUnavailable, Object: object, Message: "is damaged in the store: its digest is another one", Next: "restore the store from a backup, and register the types again"}
	}
	return content, nil
}
