package retention

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/registry"
)

// Removal is what goes, or a step of it.
type Removal struct {
	// Artifacts, what names before what is named.
	Artifacts []Fate
	// Layers are blobs of repositories that no manifest names which stays, and blobs of no repository.
	Layers []Layer
}

// objects are all that go.
func (r Removal) objects() []Object {
	all := make([]Object, 0, len(r.Layers)+len(r.Artifacts))
	for _, l := range r.Layers {
		all = append(all, l.Object)
	}
	for _, a := range r.Artifacts {
		all = append(all, a.Object)
	}
	return all
}

// except is a removal without what is told not to go.
func (r Removal) except(stays func(Object) bool) Removal {
	return Removal{
		Artifacts: slices.DeleteFunc(slices.Clone(r.Artifacts), func(a Fate) bool { return stays(a.Object) }),
		Layers:    slices.DeleteFunc(slices.Clone(r.Layers), func(l Layer) bool { return stays(l.Object) }),
	}
}

// Pushed is blobs of a repository that no manifest names, or blobs of no repository: what is left of pushes that nobody has finished.
type Pushed struct {
	Repository string
	Blobs      int
	Size       int64
	// Unneeded is for how long the one was that has waited least.
	Unneeded time.Duration
}

// Alone are they, by repository.
func (r Removal) Alone() (all []Pushed) {
	at := map[string]int{}
	for _, l := range r.Layers {
		if !l.Alone {
			continue
		}
		i, known := at[l.Repository]
		if !known {
			i = len(all)
			at[l.Repository] = i
			all = append(all, Pushed{Repository: l.Repository, Unneeded: l.Unneeded})
		}
		all[i].Blobs++
		all[i].Size += l.Size
		all[i].Unneeded = min(all[i].Unneeded, l.Unneeded)
	}
	return all
}

// removeStep removes a step, and the bytes of blobs of which it takes the last link; and says how many bytes that has freed. stale are the tags that have named an artifact once. What names goes before what is named, and is off the disk by then:
// wherever it ends, all that is left can be read.
func (r *reader) removeStep(gone Removal, stale map[Object][]string, blobs []registry.Digest, sizes map[registry.Digest]Blob) (freed int64, err error) {
	changed, repositories := map[string]bool{}, map[string]bool{}
	remove := func(path string) error {
		changed[filepath.Dir(path)] = true
		return r.removeAll(path)
	}
	// settle has on disk what was removed until now.
	settle := func() error {
		for dir := range changed {
			if err := r.flush(dir); err != nil {
				return err
			}
		}
		clear(changed)
		return nil
	}
	for _, a := range gone.Artifacts {
		repositories[a.Repository] = true
		manifests := filepath.Join(r.folder(a.Repository), manifestsFolder)
		for _, tag := range a.Tags {
			path := filepath.Join(manifests, "tags", tag)
			named, err := os.ReadFile(filepath.Join(path, "current", "link"))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, err
			}
			if err == nil && registry.Digest(strings.TrimSpace(string(named))) != a.Digest {
				path = filepath.Join(path, "index", "sha256", a.Digest.Hex()) // it names another one by now
			}
			if err := remove(path); err != nil {
				return 0, err
			}
		}
		for _, tag := range stale[a.Object] {
			if err := r.removeAll(filepath.Join(manifests, "tags", tag, "index", "sha256", a.Digest.Hex())); err != nil {
				return 0, err
			}
		}
		if err := remove(filepath.Join(manifests, "revisions", "sha256", a.Digest.Hex())); err != nil {
			return 0, err
		}
	}
	if err := settle(); err != nil {
		return 0, err
	}
	for _, l := range gone.Layers {
		if l.Repository == "" {
			continue
		}
		repositories[l.Repository] = true
		if err := remove(filepath.Join(r.folder(l.Repository), layersFolder, "sha256", l.Digest.Hex())); err != nil {
			return 0, err
		}
	}
	if err := settle(); err != nil {
		return 0, err
	}
	for _, digest := range blobs {
		if err := r.removeAll(r.blob(digest)); err != nil {
			return freed, err
		}
		freed += sizes[digest].Size
	}
	for repository := range repositories {
		r.removeEmpty(repository)
	}
	return freed, nil
}

// stale finds the tags that have named once what goes from a repository, and name something else now; gone has the artifacts that go.
func (r *reader) stale(repository Repository, gone map[Object]bool, into map[Object][]string) error {
	for tag, current := range repository.Tags {
		if gone[Object{repository.Name, current}] {
			continue // it goes with that
		}
		once, err := list(filepath.Join(r.folder(repository.Name), manifestsFolder, "tags", tag, "index", "sha256"))
		if err != nil {
			return err
		}
		for _, hex := range once {
			if of := (Object{repository.Name, registry.Digest("sha256:" + hex)}); gone[of] {
				into[of] = append(into[of], tag)
			}
		}
	}
	return nil
}

// removeEmpty removes the folders of a repository that has nothing left. Whatever is in one of them keeps it.
func (r *reader) removeEmpty(repository string) {
	dir := r.folder(repository)
	for _, folders := range [...][]string{
		{layersFolder + "/sha256", layersFolder}, {uploadsFolder},
		{manifestsFolder + "/revisions/sha256", manifestsFolder + "/revisions", manifestsFolder + "/tags", manifestsFolder}, {""},
	} {
		for _, folder := range folders {
			_ = os.Remove(filepath.Join(dir, filepath.FromSlash(folder))) // it fails where it is not empty
		}
	}
}

// flushDir has the names in a folder on disk.
func flushDir(dir string) error {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it never was
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
