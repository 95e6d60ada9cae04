package retention

import (
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

// layout is where distribution's filesystem driver keeps things, below the registry's folder:
// https://distribution.github.io/distribution/spec/api and registry/storage/paths.go there.
const layout = "docker/registry/v2"

// The folders of a repository. No repository's own name begins with an underscore.
const (
	manifestsFolder = "_manifests"
	layersFolder    = "_layers"
	uploadsFolder   = "_uploads"
)

// Registry is what stands in the folder of an embedded registry.
type Registry struct {
	Repositories []Repository
	// Blobs are the sizes, in bytes, of all that is kept, manifests among it.
	Blobs map[registry.Digest]int64
}

// Repository is one of them.
type Repository struct {
	Name      string
	Manifests map[registry.Digest]Manifest
	// Layers are the blobs that the repository has, whether a manifest names them or not.
	Layers map[registry.Digest]bool
	// Tags are the manifests that tags name.
	Tags map[string]Tag
	// Foreign: it has something by another algorithm than sha256, which is not understood here, so that all of it stays. Targets are the blobs that this names.
	Foreign bool
	Targets []registry.Digest
}

// Tag is what a tag names, and since when.
type Tag struct {
	Digest registry.Digest
	Since  time.Time
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
	c := Content{Blobs: digests(m.Layers), Manifests: digests(m.Manifests)}
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

// reader reads a registry's folder. Manifests never change, so that each is read once.
type reader struct {
	root  string
	known map[registry.Digest]Content
	// removeAll is os.RemoveAll, unless a test says otherwise.
	removeAll func(path string) error
}

func newReader(dir string) *reader {
	return &reader{root: filepath.Join(dir, filepath.FromSlash(layout)), known: map[registry.Digest]Content{}, removeAll: os.RemoveAll}
}

// read reads all of it, or fails: of a part nobody could say what needs what.
func (r *reader) read() (Registry, error) {
	all := Registry{Blobs: map[registry.Digest]int64{}}
	if err := r.blobs(all.Blobs); err != nil {
		return Registry{}, err
	}
	root := filepath.Join(r.root, "repositories")
	if _, err := os.Lstat(root); errors.Is(err, fs.ErrNotExist) {
		return all, nil // nothing was ever pushed
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = noLink(path, d)
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
			repository, err := r.repository(name, dir, all.Blobs)
			if err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
			all.Repositories = append(all.Repositories, repository)
		}
		return fs.SkipDir
	})
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
func (r *reader) blobs(into map[registry.Digest]int64) error {
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
			into[digest] = info.Size()
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

func (r *reader) repository(name, dir string, blobs map[registry.Digest]int64) (Repository, error) {
	out := Repository{Name: name, Manifests: map[registry.Digest]Manifest{}, Layers: map[registry.Digest]bool{}, Tags: map[string]Tag{}}
	err := r.links(filepath.Join(dir, layersFolder), &out, func(digest registry.Digest, _ time.Time) error {
		out.Layers[digest] = true
		return nil
	})
	if err != nil {
		return out, err
	}
	err = r.links(filepath.Join(dir, manifestsFolder, "revisions"), &out, func(digest registry.Digest, pushed time.Time) error {
		content, err := r.manifest(digest, blobs)
		if err != nil {
			return fmt.Errorf("manifest %s: %w; push it again, or delete its folder in %s/revisions", digest, err, manifestsFolder)
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
		path := filepath.Join(root, tag, "current", "link")
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was removed, or was never written whole: nobody can pull by it
		}
		if err != nil {
			return out, err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return out, err
		}
		// One that a crash has left empty says nothing of what it named: the artifact may be somebody's.
		if !foreign(string(text)) {
			digest, err := registry.ParseDigest(strings.TrimSpace(string(text)))
			if err != nil {
				return out, fmt.Errorf("tag %s: %w; push it again, or delete its folder in %s/tags", tag, err, manifestsFolder)
			}
			out.Tags[tag] = Tag{Digest: digest, Since: info.ModTime()}
		} else {
			out.Foreign = true
		}
	}
	return out, nil
}

// foreign says whether a link names something by an algorithm that is not understood here.
func foreign(link string) bool {
	algorithm, _, ok := strings.Cut(link, ":")
	return ok && algorithm != "" && algorithm != "sha256"
}

// links calls each for every link by sha256 below a folder.
func (r *reader) links(dir string, of *Repository, each func(digest registry.Digest, written time.Time) error) error {
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
			if err := each(digest, info.ModTime()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) manifest(digest registry.Digest, blobs map[registry.Digest]int64) (Content, error) {
	if _, there := blobs[digest]; !there {
		return Content{}, errors.New("its bytes are not there")
	}
	if c, ok := r.known[digest]; ok {
		return c, nil
	}
	text, err := os.ReadFile(filepath.Join(r.blob(digest), "data"))
	if err != nil {
		return Content{}, err
	}
	c, err := ParseManifest(text)
	if err == nil {
		r.known[digest] = c
	}
	return c, err
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
