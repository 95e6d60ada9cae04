package distributor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/retention"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/registry"
)

// inlineGrace is for how long an inline module stays that no release names: it may have been refused for want of a signature, and be signed now.
const inlineGrace = 24 * time.Hour

// sweepUnneeded sweeps the embedded registry in a folder where the store can say what is needed: it has releases that name modules, and the registry was used with
// no other one. A store without any may be one that was made since the real one was not found.
func sweepUnneeded(ctx context.Context, dir string, st *store.Store, log *slog.Logger) error {
	identity, err := st.Identity(ctx)
	if err != nil {
		return err
	}
	named, err := namedArtifacts(ctx, st.ListReleases)
	if err != nil {
		return err
	}
	only, err := usedWith(dir, identity, named)
	if err != nil {
		return err
	}
	switch {
	case !only:
		if kept, err := inlineArtifacts(dir); err != nil || len(kept) == 0 {
			return err
		}
		log.Warn("inline modules that no release names stay: the registry was used with other stores, too, whose releases may name them", "stores", filepath.Join(dir, storesFile),
			"next", "where only this store is left, delete that file, and restart")
		return nil
	case len(named) == 0:
		return nil
	}
	return sweepInline(dir, named, time.Now(), log)
}

// replicaSweepWait is how long a replica that starts waits for etcd to say what is needed. Where it does not, the sweep is for another start.
const replicaSweepWait = 5 * time.Second

// sweepReplica sweeps the embedded registry of one of several replicas when it starts. Nobody else does: each has a registry of its own, which holds what was kept while
// it led. It does not lead yet and no other replica knows of it, so that nobody pushes meanwhile.
func sweepReplica(ctx context.Context, dir string, client *clientv3.Client, log *slog.Logger) error {
	if kept, err := inlineArtifacts(dir); err != nil || len(kept) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, replicaSweepWait)
	defer cancel()
	st, err := store.Look(ctx, client)
	if errors.Is(err, model.ErrNotFound) || errors.Is(err, model.ErrPrecondition) {
		log.Warn("inline modules that no release names stay: what is in etcd is no store of this version of waft", "reason", err)
		return nil
	}
	if err != nil {
		return err
	}
	return sweepUnneeded(ctx, dir, st, log)
}

// noteStore notes, before a replica keeps anything as the one that leads, whose its registry is.
func noteStore(ctx context.Context, dir string, st *store.Store) error {
	identity, err := st.Identity(ctx)
	if err != nil {
		return err
	}
	noted, err := notedStores(dir)
	if err != nil || slices.Contains(noted, identity) {
		return err
	}
	named, err := namedArtifacts(ctx, st.ListReleases)
	if err != nil {
		return err
	}
	_, err = usedWith(dir, identity, named)
	return err
}

// inlineFolders are the folders of the repositories of inline modules.
func inlineFolders(dir string) (repositories []string, err error) {
	return foldersBelow(filepath.Join(dir, filepath.FromSlash(retention.Layout), "repositories", service.InlineRepositories))
}

// foldersBelow are those of the repositories below a folder.
func foldersBelow(root string) (repositories []string, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if d.Name() == "_manifests" {
			repositories = append(repositories, filepath.Dir(path))
		}
		if strings.HasPrefix(d.Name(), "_") {
			return filepath.SkipDir
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // there never was one
	}
	return repositories, err
}

// sweepInline removes the inline modules that no release names any more from the embedded registry, with what is attached to them. It is done before anything is
// served, so that nobody pushes meanwhile. What was pushed is never touched, nor is a blob that any other repository has, or that anything left in its own names.
func sweepInline(dir string, named map[string]bool, now time.Time, log *slog.Logger) error {
	root := filepath.Join(dir, filepath.FromSlash(retention.Layout))
	repositories, err := inlineFolders(dir)
	if err != nil {
		return err
	}
	for _, repository := range repositories {
		swept := inlineRepository{root: root, dir: repository}
		if err := swept.read(); err != nil {
			return fmt.Errorf("%s: %w", repository, err)
		}
		gone := swept.unneeded(named, now)
		if len(gone) == 0 {
			continue
		}
		if err := swept.remove(gone); err != nil {
			return fmt.Errorf("%s: %w", repository, err)
		}
		log.Info("removed inline modules that no release names", "repository", strings.TrimPrefix(repository, filepath.Join(root, "repositories")+string(filepath.Separator)), "manifests", len(gone))
	}
	return nil
}

// inlineRepository is a repository of inline modules, as it is on the disk.
type inlineRepository struct {
	root, dir string
	manifests map[registry.Digest]storedManifest
	// tags are the manifests that tags name.
	tags map[string]registry.Digest
}

// storedManifest is what counts of a manifest, of whatever kind.
type storedManifest struct {
	pushed time.Time
	// names are the blobs and manifests that it names.
	names []registry.Digest
	// subject is what it is attached to; empty for an image.
	subject registry.Digest
	// image: it is no index, and attached to nothing. attached: it is to something.
	image, attached bool
}

// read reads which manifests there are.
func (r *inlineRepository) read() error {
	r.manifests, r.tags = map[registry.Digest]storedManifest{}, map[string]registry.Digest{}
	revisions := filepath.Join(r.dir, "_manifests", "revisions", "sha256")
	entries, err := os.ReadDir(revisions)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		link, err := os.Stat(filepath.Join(revisions, e.Name(), "link"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed
		}
		if err != nil {
			return err
		}
		digest, err := registry.ParseDigest("sha256:" + e.Name())
		if err != nil {
			return err
		}
		m, err := r.manifest(digest)
		if err != nil {
			return fmt.Errorf("manifest %s: %w", digest, err)
		}
		m.pushed = link.ModTime()
		r.manifests[digest] = m
	}
	tags, err := os.ReadDir(filepath.Join(r.dir, "_manifests", "tags"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range tags {
		current, err := os.ReadFile(filepath.Join(r.dir, "_manifests", "tags", e.Name(), "current", "link"))
		if err != nil {
			return err
		}
		// One that a crash has left empty says nothing of what it named: the image may be somebody's. Paths are made of it, too.
		if r.tags[e.Name()], err = registry.ParseDigest(strings.TrimSpace(string(current))); err != nil {
			return fmt.Errorf("tag %s: %w; push it again, or delete its folder in _manifests/tags", e.Name(), err)
		}
	}
	return nil
}

func (r *inlineRepository) manifest(digest registry.Digest) (storedManifest, error) {
	text, err := os.ReadFile(filepath.Join(r.blob(digest), "data"))
	if err != nil {
		return storedManifest{}, err
	}
	return parseStored(text)
}

// parseStored reads a manifest, which anybody may have pushed who may push there.
func parseStored(text []byte) (storedManifest, error) {
	c, err := retention.ParseManifest(text)
	if err != nil {
		return storedManifest{}, err
	}
	return storedManifest{names: append(c.Blobs, c.Manifests...), subject: c.Subject, image: !c.Attached && !c.Index, attached: c.Attached}, nil
}

// blob is the folder of a blob.
func (r *inlineRepository) blob(digest registry.Digest) string {
	return filepath.Join(r.root, "blobs", "sha256", digest.Hex()[:2], digest.Hex())
}

// unneeded are the images that no release names and that nobody has just pushed, and all that is attached to them. An image with a tag of its own was pushed there
// by somebody, and stays. What a release names is never gone, whatever it is attached to.
func (r *inlineRepository) unneeded(named map[string]bool, now time.Time) map[registry.Digest]bool {
	gone := map[registry.Digest]bool{}
	remove := func(digest registry.Digest) {
		if !named[string(digest)] {
			gone[digest] = true
		}
	}
	tagged := map[registry.Digest]bool{}
	for tag, digest := range r.tags {
		if !strings.HasPrefix(tag, retention.AttachedPrefix) {
			tagged[digest] = true
		}
	}
	for digest, m := range r.manifests {
		if m.image && !strings.HasPrefix(r.tagOf(digest), retention.AttachedPrefix) && !tagged[digest] && now.Sub(m.pushed) >= inlineGrace {
			remove(digest)
		}
	}
	for digest, m := range r.manifests {
		if gone[m.subject] {
			remove(digest)
		}
	}
	for tag, digest := range r.tags {
		if hex, ok := strings.CutPrefix(tag, retention.AttachedPrefix); ok {
			hex, _, _ = strings.Cut(hex, ".")
			if gone[registry.Digest("sha256:"+hex)] {
				remove(digest)
			}
		}
	}
	for digest, m := range r.manifests {
		// An older list of what was attached.
		if !m.image && !m.attached && len(m.names) > 0 && !slices.ContainsFunc(m.names, func(d registry.Digest) bool { return !gone[d] }) {
			remove(digest)
		}
	}
	return gone
}

// tagOf is a tag that names a manifest; empty where none does.
func (r *inlineRepository) tagOf(digest registry.Digest) string {
	for tag, of := range r.tags {
		if of == digest {
			return tag
		}
	}
	return ""
}

// remove takes manifests out of the repository, and the blobs that nothing else has.
func (r *inlineRepository) remove(gone map[registry.Digest]bool) error {
	for tag, digest := range r.tags {
		if gone[digest] {
			if err := os.RemoveAll(filepath.Join(r.dir, "_manifests", "tags", tag)); err != nil {
				return err
			}
		}
	}
	kept, candidates := map[registry.Digest]bool{}, map[registry.Digest]bool{}
	for digest, m := range r.manifests {
		if gone[digest] {
			candidates[digest] = true
		}
		for _, name := range m.names {
			if gone[digest] {
				candidates[name] = true
			} else {
				kept[name] = true
			}
		}
	}
	for digest := range gone {
		if err := os.RemoveAll(filepath.Join(r.dir, "_manifests", "revisions", "sha256", digest.Hex())); err != nil {
			return err
		}
	}
	for digest := range candidates {
		if kept[digest] || !gone[digest] && r.isManifest(digest) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(r.dir, "_layers", "sha256", digest.Hex())); err != nil {
			return err
		}
		elsewhere, err := r.elsewhere(digest)
		if err != nil {
			return err
		}
		if !elsewhere {
			if err := os.RemoveAll(r.blob(digest)); err != nil {
				return err
			}
		}
	}
	return nil
}

// isManifest says whether it is one of this repository.
func (r *inlineRepository) isManifest(digest registry.Digest) bool {
	_, is := r.manifests[digest]
	return is
}

// elsewhere says whether any repository still has a blob, as a layer or as a manifest.
func (r *inlineRepository) elsewhere(digest registry.Digest) (found bool, err error) {
	err = filepath.WalkDir(filepath.Join(r.root, "repositories"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || !strings.HasPrefix(d.Name(), "_") {
			return err
		}
		for _, at := range [...]string{filepath.Join(path, "sha256", digest.Hex()), filepath.Join(path, "revisions", "sha256", digest.Hex())} {
			if _, err := os.Stat(filepath.Join(at, "link")); err == nil {
				found = true
				return fs.SkipAll
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return fs.SkipDir
	})
	return found, err
}

// namedArtifacts are those of the modules of all releases that there are.
func namedArtifacts(ctx context.Context, list func(ctx context.Context, name string, cursor int64, limit int) ([]model.Release, int64, error)) (map[string]bool, error) {
	named := map[string]bool{}
	for cursor := int64(0); ; {
		releases, next, err := list(ctx, "", cursor, namedStep)
		if err != nil {
			return nil, err
		}
		for _, r := range releases {
			for _, f := range append(r.Filters, r.Overrides...) {
				if f.Module != nil {
					named[f.Module.Artifact] = true
				}
			}
		}
		if next == 0 {
			return named, nil
		}
		cursor = next
	}
}

// namedStep is how many releases are read at once for that.
const namedStep = 100
