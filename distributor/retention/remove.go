package retention

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/waft-project/waft/registry"
)

// Removal is what goes.
type Removal struct {
	Artifacts []Fate
	// Layers are blobs of repositories that no manifest names which stays.
	Layers []Layer
}

// removal is what an outcome says that goes.
func (o Outcome) removal() Removal {
	r := Removal{Layers: o.Layers}
	for _, a := range o.Artifacts {
		if a.Goes {
			r.Artifacts = append(r.Artifacts, a)
		}
	}
	return r
}

func (r Removal) empty() bool { return len(r.Artifacts)+len(r.Layers) == 0 }

// objects are all that go.
func (r Removal) objects() []Object {
	var all []Object
	for _, l := range r.Layers {
		all = append(all, l.Object)
	}
	for _, a := range r.Artifacts {
		all = append(all, a.Object)
	}
	return all
}

// Pushed is blobs of a repository that no manifest names: what is left of pushes that nobody has finished.
type Pushed struct {
	Repository string
	Blobs      int
	Size       int64
	// Unneeded is for how long the one was that has waited least.
	Unneeded time.Duration
}

// Alone are they, by repository.
func (r Removal) Alone() (all []Pushed) {
	for _, l := range r.Layers { // by repository already
		if !l.Alone {
			continue
		}
		last := len(all) - 1
		if last < 0 || all[last].Repository != l.Repository {
			all = append(all, Pushed{Repository: l.Repository, Unneeded: l.Unneeded})
			last++
		}
		all[last].Blobs++
		all[last].Size += l.Size
		all[last].Unneeded = min(all[last].Unneeded, l.Unneeded)
	}
	return all
}

// within says whether all of it is in another one.
func (r Removal) within(other Removal) bool {
	in := map[Object]bool{}
	for _, o := range other.objects() {
		in[o] = true
	}
	return !slices.ContainsFunc(r.objects(), func(o Object) bool { return !in[o] })
}

// unlinked are the blobs that no repository has, once a removal was made: nobody can pull them. Where there is no repository at all there are none, since those may have been moved
// away.
func unlinked(all Registry, but Removal) []registry.Digest {
	if len(all.Repositories) == 0 {
		return nil
	}
	gone := map[Object]bool{}
	for _, o := range but.objects() {
		gone[o] = true
	}
	linked := map[registry.Digest]bool{}
	for _, r := range all.Repositories {
		for digest := range r.Manifests {
			linked[digest] = linked[digest] || !gone[Object{r.Name, digest}]
		}
		for digest := range r.Layers {
			_, manifest := r.Manifests[digest] // of one that is a manifest, too, only that goes now
			linked[digest] = linked[digest] || manifest || !gone[Object{r.Name, digest}]
		}
		for _, digest := range r.Targets {
			linked[digest] = true
		}
	}
	var left []registry.Digest
	for digest := range all.Blobs {
		if !linked[digest] {
			left = append(left, digest)
		}
	}
	slices.Sort(left)
	return left
}

// total is how many bytes blobs have.
func total(blobs map[registry.Digest]int64) (bytes int64) {
	for _, size := range blobs {
		bytes += size
	}
	return bytes
}

// remove removes it, and says how many bytes that has freed. What names goes before what is named, and is off the disk by then: wherever it ends, all that is left can be read.
func (r *reader) remove(all Registry, gone Removal) (freed int64, err error) {
	changed := map[string]bool{}
	remove := func(path string) error {
		changed[filepath.Dir(path)] = true
		return r.removeAll(path)
	}
	// An index before what it is made of.
	artifacts := slices.Clone(gone.Artifacts)
	made, tags := map[Object]bool{}, map[string]map[string]Tag{}
	for _, repository := range all.Repositories {
		tags[repository.Name] = repository.Tags
		for digest, m := range repository.Manifests {
			made[Object{repository.Name, digest}] = len(m.Manifests) > 0
		}
	}
	slices.SortStableFunc(artifacts, func(a, b Fate) int {
		switch {
		case made[a.Object] == made[b.Object]:
			return 0
		case made[a.Object]:
			return -1
		}
		return 1
	})
	for _, a := range artifacts {
		manifests := filepath.Join(r.folder(a.Repository), manifestsFolder)
		for _, tag := range a.Tags {
			if err := remove(filepath.Join(manifests, "tags", tag)); err != nil {
				return 0, err
			}
		}
		// What other tags have named once.
		for tag := range tags[a.Repository] {
			if err := r.removeAll(filepath.Join(manifests, "tags", tag, "index", "sha256", a.Digest.Hex())); err != nil {
				return 0, err
			}
		}
		if err := remove(filepath.Join(manifests, "revisions", "sha256", a.Digest.Hex())); err != nil {
			return 0, err
		}
	}
	for _, l := range gone.Layers {
		if err := remove(filepath.Join(r.folder(l.Repository), layersFolder, "sha256", l.Digest.Hex())); err != nil {
			return 0, err
		}
	}
	for dir := range changed {
		if err := flush(dir); err != nil {
			return 0, err
		}
	}
	for _, digest := range unlinked(all, gone) {
		if err := r.removeAll(r.blob(digest)); err != nil {
			return freed, err
		}
		freed += all.Blobs[digest]
	}
	for _, repository := range all.Repositories {
		r.removeEmpty(repository, gone)
	}
	return freed, nil
}

// removeEmpty removes the folders of a repository that has nothing left. Whatever is in one of them keeps it.
func (r *reader) removeEmpty(repository Repository, gone Removal) {
	of := 0
	for _, o := range gone.objects() {
		if o.Repository == repository.Name {
			of++
		}
	}
	if of == 0 {
		return
	}
	dir := r.folder(repository.Name)
	for _, folders := range [...][]string{
		{layersFolder + "/sha256", layersFolder}, {uploadsFolder},
		{manifestsFolder + "/revisions/sha256", manifestsFolder + "/revisions", manifestsFolder + "/tags", manifestsFolder}, {""},
	} {
		for _, folder := range folders {
			_ = os.Remove(filepath.Join(dir, filepath.FromSlash(folder))) // it fails where it is not empty
		}
	}
}

// flush has the names in a folder on disk.
func flush(dir string) error {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it never was
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
