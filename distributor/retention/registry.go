package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/waft-project/waft/registry"
)

// Layout is where distribution's filesystem driver keeps things, below the registry's folder:
// https://distribution.github.io/distribution/spec/api and registry/storage/paths.go there.
const Layout = "docker/registry/v2"

// The folders of a repository. No repository's own name begins with an underscore.
const (
	manifestsFolder = "_manifests"
	layersFolder    = "_layers"
	uploadsFolder   = "_uploads"
)

// Registry is what stands in the folder of an embedded registry.
type Registry struct {
	Repositories []Repository
	// Blobs are all that is kept, manifests among it.
	Blobs map[registry.Digest]Blob
}

// Blob is the bytes of one.
type Blob struct {
	Size    int64
	Written time.Time
}

// Repository is one of them.
type Repository struct {
	Name      string
	Manifests map[registry.Digest]Manifest
	// Layers are the blobs that the repository has, whether a manifest names them or not, and since when.
	Layers map[registry.Digest]time.Time
	// Tags are the manifests that tags name.
	Tags map[string]registry.Digest
	// Foreign: it has something by another algorithm than sha256, which is not understood here, so that all of it stays. Targets are the blobs that this names.
	Foreign bool
	Targets []registry.Digest
	// Unreadable is what of it cannot be read, a manifest or a tag, so that all of it stays; of such a manifest there is no Content.
	Unreadable error
}

// links are how many links there are to each blob: in the layers, the manifests and the foreign links of all repositories.
func (r Registry) links() map[registry.Digest]int {
	links := map[registry.Digest]int{}
	for _, repository := range r.Repositories {
		for digest := range repository.Manifests {
			links[digest]++
		}
		for digest := range repository.Layers {
			links[digest]++
		}
		for _, digest := range repository.Targets {
			links[digest]++
		}
	}
	return links
}

// bytes is how many it keeps.
func (r Registry) bytes() (total int64) {
	for _, blob := range r.Blobs {
		total += blob.Size
	}
	return total
}

// Manifest is what counts of a manifest, of whatever kind.
type Manifest struct {
	Content
	// Pushed is when it was pushed last.
	Pushed time.Time
}

// Content is what a manifest says.
type Content struct {
	// Blobs are the config and the layers, and Manifests those of an index.
	Blobs, Manifests []registry.Digest
	// Subject is what it is attached to; empty for most.
	Subject registry.Digest
	// Index: it is one. Attached: it has a subject, be it named by sha256 or not.
	Index, Attached bool
}

// ParseManifest reads a manifest, which anybody may have pushed who may push.
func ParseManifest(text []byte) (Content, error) {
	var m struct {
		Config, Subject   *registry.Descriptor
		Layers, Manifests []registry.Descriptor
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return Content{}, err
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	c := Content{Blobs: digests(m.Layers), Manifests: digests(m.Manifests), Index: m.Manifests != nil, Attached: m.Subject != nil}
	if m.Subject != nil && m.Subject.Digest.Valid() {
		c.Subject = m.Subject.Digest
	}
	return c, nil
}

// digests are those of what is named by sha256; what is named otherwise is left where it is.
func digests(named []registry.Descriptor) (all []registry.Digest) {
	for _, d := range named {
		if d.Digest.Valid() {
			all = append(all, d.Digest)
		}
	}
	return all
}

// reader reads a registry's folder, while others push to it. Manifests never change, so that each is read once. It is used by one at a time.
type reader struct {
	root  string
	known map[registry.Digest]Content
	// removeAll is os.RemoveAll, and flush flushDir, unless a test says otherwise.
	removeAll, flush func(path string) error
}

func newReader(dir string) *reader {
	return &reader{root: filepath.Join(dir, filepath.FromSlash(Layout)), known: map[registry.Digest]Content{}, removeAll: os.RemoveAll, flush: flushDir}
}

// read reads all of it, or fails where a folder cannot be read: nobody could say what is in it. Of a repository in which a manifest or a tag cannot be read it says so. What a push writes
// meanwhile may be seen or not; no link is seen without the bytes that it leads to, since those are written before, and read after.
func (r *reader) read(ctx context.Context) (Registry, error) {
	all := Registry{Blobs: map[registry.Digest]Blob{}}
	root := filepath.Join(r.root, "repositories")
	if _, err := os.Lstat(root); errors.Is(err, fs.ErrNotExist) {
		return all, r.blobs(ctx, all.Blobs) // nothing was ever pushed
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = noLink(path, d)
		}
		if errors.Is(err, fs.ErrNotExist) && path != root {
			return nil // a folder of uploads, or one that was empty, which has just gone
		}
		if err != nil || !d.IsDir() {
			return err
		}
		if !strings.HasPrefix(d.Name(), "_") {
			return nil
		}
		dir := filepath.Dir(path)
		name, err := filepath.Rel(root, dir)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if last := len(all.Repositories) - 1; last < 0 || all.Repositories[last].Name != name {
			repository, err := r.repository(ctx, name, dir)
			if err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
			all.Repositories = append(all.Repositories, repository)
		}
		return fs.SkipDir
	})
	if err == nil {
		err = r.blobs(ctx, all.Blobs)
	}
	if err != nil {
		return Registry{}, err
	}
	// What is not there any more need not be known.
	for digest := range r.known {
		if _, there := all.Blobs[digest]; !there {
			delete(r.known, digest)
		}
	}
	return all, nil
}

// blobs reads which there are. Those by another algorithm are left where they are.
func (r *reader) blobs(ctx context.Context, into map[registry.Digest]Blob) error {
	root := filepath.Join(r.root, "blobs", "sha256")
	prefixes, err := list(root)
	if err != nil {
		return err
	}
	for _, prefix := range prefixes {
		entries, err := list(filepath.Join(root, prefix))
		if err != nil {
			return err
		}
		for _, hex := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			digest := registry.Digest("sha256:" + hex)
			if !digest.Valid() {
				continue
			}
			info, err := os.Stat(filepath.Join(r.blob(digest), "data"))
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was removed, all but its folder
			}
			if err != nil {
				return err
			}
			into[digest] = Blob{Size: info.Size(), Written: info.ModTime()}
		}
	}
	return nil
}

// blob is the folder of a blob.
func (r *reader) blob(digest registry.Digest) string {
	return filepath.Join(r.root, "blobs", "sha256", digest.Hex()[:2], digest.Hex())
}

// folder is that of a repository.
func (r *reader) folder(name string) string {
	return filepath.Join(r.root, "repositories", filepath.FromSlash(name))
}

func (r *reader) repository(ctx context.Context, name, dir string) (Repository, error) {
	out := Repository{Name: name, Manifests: map[registry.Digest]Manifest{}, Layers: map[registry.Digest]time.Time{}, Tags: map[string]registry.Digest{}}
	err := r.links(ctx, filepath.Join(dir, layersFolder), &out, func(_ string, digest registry.Digest, linked time.Time) error {
		out.Layers[digest] = linked
		return nil
	})
	if err != nil {
		return out, err
	}
	err = r.links(ctx, filepath.Join(dir, manifestsFolder, "revisions"), &out, func(link string, digest registry.Digest, pushed time.Time) error {
		content, err := r.manifest(digest)
		if err != nil {
			if _, gone := os.Lstat(link); errors.Is(gone, fs.ErrNotExist) {
				return nil // meanwhile
			}
			out.Unreadable = fmt.Errorf("manifest %s: %w; push it again, or delete its folder in %s/revisions", digest, err, manifestsFolder)
		}
		out.Manifests[digest] = Manifest{Content: content, Pushed: pushed}
		return nil
	})
	if err != nil {
		return out, err
	}
	root := filepath.Join(dir, manifestsFolder, "tags")
	tags, err := list(root)
	if err != nil {
		return out, err
	}
	for _, tag := range tags {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		text, err := os.ReadFile(filepath.Join(root, tag, "current", "link"))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // it was removed, or was never written whole: nobody can pull by it
		case err != nil:
			return out, err
		case foreign(string(text)):
			out.Foreign = true
			continue
		}
		// One that a crash has left empty says nothing of what it named: the artifact may be somebody's.
		digest, err := registry.ParseDigest(strings.TrimSpace(string(text)))
		if err != nil {
			out.Unreadable = fmt.Errorf("tag %s: %w; push it again, or delete its folder in %s/tags", tag, err, manifestsFolder)
			continue
		}
		out.Tags[tag] = digest
	}
	return out, nil
}

// foreign says whether a link names something by an algorithm that is not understood here.
func foreign(link string) bool {
	algorithm, _, ok := strings.Cut(link, ":")
	return ok && algorithm != "" && algorithm != "sha256"
}

// links calls each for every link by sha256 below a folder.
func (r *reader) links(ctx context.Context, dir string, of *Repository, each func(path string, digest registry.Digest, written time.Time) error) error {
	algorithms, err := list(dir)
	if err != nil {
		return err
	}
	for _, algorithm := range algorithms {
		names, err := list(filepath.Join(dir, algorithm))
		if err != nil {
			return err
		}
		for _, hex := range names {
			if err := ctx.Err(); err != nil {
				return err
			}
			path := filepath.Join(dir, algorithm, hex, "link")
			info, err := os.Stat(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was removed
			}
			if err != nil {
				return err
			}
			if algorithm != "sha256" {
				of.Foreign = true
				text, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				if target := registry.Digest(strings.TrimSpace(string(text))); target.Valid() {
					of.Targets = append(of.Targets, target)
				}
				continue
			}
			digest, err := registry.ParseDigest("sha256:" + hex)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if err := each(path, digest, info.ModTime()); err != nil {
				return err
			}
		}
	}
	return nil
}

// manifest reads one, again and again only where it could not.
func (r *reader) manifest(digest registry.Digest) (Content, error) {
	path := filepath.Join(r.blob(digest), "data")
	if c, ok := r.known[digest]; ok {
		if _, err := os.Lstat(path); err != nil {
			return Content{}, noBytes(err)
		}
		return c, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Content{}, noBytes(err)
	}
	c, err := ParseManifest(text)
	if err == nil {
		r.known[digest] = c
	}
	return c, err
}

func noBytes(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("its bytes are not there")
	}
	return err
}

// list are the names in a folder; none where there is no folder.
func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if err := noLink(filepath.Join(dir, e.Name()), e); err != nil {
			return nil, err
		}
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// noLink refuses what leads somewhere else: what is there would be overlooked, and what it names would go.
func noLink(path string, e fs.DirEntry) error {
	if e.Type()&fs.ModeSymlink != 0 {
		return fmt.Errorf("%s is a symbolic link, which is not followed; mount what it leads to, or move it there", path)
	}
	return nil
}
