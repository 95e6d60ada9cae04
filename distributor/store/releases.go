package store

import (
	"context"
	"errors"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
)

// maxReleaseTries is how often a release is tried that names secrets which are changed meanwhile.
const maxReleaseTries = 10

// CreateRelease stores a release that does not exist yet; model.ErrExists when its ID does, and model.ErrNotFound when a kept secret that it names is not there.
//
// It writes the rows of those secrets once more, as they are: who has looked for releases that name a version, to remove it, and found none, is refused then.
func (s *Store) CreateRelease(ctx context.Context, release model.Release, entry model.AuditEntry) error {
	object := "release/" + release.ID.String()
	value, err := encode(object, release)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		conditions, touched, err := s.namedSecrets(ctx, release)
		if err != nil {
			return err
		}
		conditions = append(conditions, clientv3.Compare(clientv3.CreateRevision(releaseKey(release.ID)), "=", 0))
		exists := &model.Error{Kind: model.ErrExists, Object: object, Message: "exists already"}
		_, err = s.commit(ctx, []model.AuditEntry{entry}, func(sequence int64) (change, error) {
			return change{
				object:     object,
				conditions: slices.Clone(conditions), // commit adds to it
				lost:       exists,
				ops: append(slices.Clone(touched),
					clientv3.OpPut(releaseKey(release.ID), value),
					clientv3.OpPut(ordered(releaseOrder, sequence), release.ID.String()),
					clientv3.OpPut(ordered(releaseNames+release.ID.Name+"/", sequence), release.ID.Hash)),
			}, nil
		})
		if err != exists || len(touched) == 0 {
			return err
		}
		if _, err := s.GetRelease(ctx, release.ID); !errors.Is(err, model.ErrNotFound) {
			if err != nil {
				return err
			}
			return exists
		}
		if try == maxReleaseTries {
			return &model.Error{Kind: model.ErrConflict, Object: object, Message: "the secrets that it names are changed all the time", Next: "try again"}
		}
	}
}

// namedSecrets are the conditions under which the secrets that a release names stay as they are, and the writes of their rows as they are; model.ErrNotFound when a version is not
// there.
func (s *Store) namedSecrets(ctx context.Context, release model.Release) ([]clientv3.Cmp, []clientv3.Op, error) {
	rows := map[string]model.KeptSecret{}
	var conditions []clientv3.Cmp
	var touched []clientv3.Op
	for _, ref := range release.KeptSecrets() {
		key := secretKey(ref.Layer, ref.Name)
		row, read := rows[key]
		if !read {
			var err error
			if row, err = s.GetSecret(ctx, ref.Layer, ref.Name); err != nil {
				return nil, nil, err
			}
			value, err := encode(row.Object(), row)
			if err != nil {
				return nil, nil, err
			}
			rows[key] = row
			conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(key), "=", row.Revision))
			touched = append(touched, clientv3.OpPut(key, value))
		}
		if _, there := row.Find(ref.Version); !there || row.Ref(ref.Version) != ref {
			return nil, nil, noVersion(ref)
		}
	}
	return conditions, touched, nil
}

// GetRelease returns a release by its whole ID; model.ErrNotFound when there is none.
func (s *Store) GetRelease(ctx context.Context, id model.ReleaseID) (model.Release, error) {
	object := "release/" + id.String()
	got, err := s.client.Get(ctx, releaseKey(id))
	if err != nil {
		return model.Release{}, failed(object, err)
	}
	if len(got.Kvs) == 0 {
		return model.Release{}, notFound(object)
	}
	var release model.Release
	err = decode(releaseKey(id), got.Kvs[0].Value, &release)
	return release, err
}

// FindReleases returns at most limit releases of that name whose hash begins with prefix, by hash.
func (s *Store) FindReleases(ctx context.Context, name, prefix string, limit int) ([]model.Release, error) {
	got, err := s.client.Get(ctx, releaseKey(model.ReleaseID{Name: name, Hash: prefix}), clientv3.WithPrefix(), clientv3.WithLimit(int64(limit)))
	if err != nil {
		return nil, failed("release/"+name, err)
	}
	var found []model.Release
	for _, kv := range got.Kvs {
		var release model.Release
		if err := decode(string(kv.Key), kv.Value, &release); err != nil {
			return nil, err
		}
		found = append(found, release)
	}
	return found, nil
}

// ListReleases returns releases, newest first, of one name or all (empty), and the cursor of the next page; 0 after the
// last.
func (s *Store) ListReleases(ctx context.Context, name string, cursor int64, limit int) ([]model.Release, int64, error) {
	under := releaseOrder
	if name != "" {
		under = releaseNames + name + "/"
	}
	lines, next, err := s.page(ctx, "releases", under, cursor, limit)
	if err != nil {
		return nil, 0, err
	}
	keys := make([]string, len(lines))
	for i, line := range lines {
		id := model.ReleaseID{Name: name, Hash: string(line.value)}
		if name == "" {
			if id, err = parseReleaseID(string(line.value)); err != nil {
				return nil, 0, err
			}
		}
		keys[i] = releaseKey(id)
	}
	found := make([]model.Release, 0, len(keys))
	err = s.each(ctx, "releases", keys, func(key string, value []byte, _ int64) error {
		var release model.Release
		if err := decode(key, value, &release); err != nil {
			return err
		}
		found = append(found, release)
		return nil
	})
	return found, next, err
}
