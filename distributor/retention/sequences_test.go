package retention

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
)

// world is a registry that people push to, and the releases and tags that name what is in it.
type world struct {
	random *rand.Rand
	all    Registry
	waits  Waits
	used   map[Object]bool
	policy Policy

	// releases name manifests, and pulled is when each thing was used last, on a clock that only looks move.
	releases []registry.Digest
	now      time.Duration
	pulled   map[Object]time.Duration
	next     int
}

func (w *world) repository() *Repository {
	return &w.all.Repositories[w.random.IntN(len(w.all.Repositories))]
}

// any is a manifest of a repository.
func (w *world) any(r *Repository) (registry.Digest, bool) {
	if len(r.Manifests) == 0 {
		return "", false
	}
	all := slices.Sorted(maps.Keys(r.Manifests))
	return all[w.random.IntN(len(all))], true
}

func (w *world) use(r *Repository, digests ...registry.Digest) {
	for _, d := range digests {
		w.used[Object{r.Name, d}] = true
		w.pulled[Object{r.Name, d}] = w.now
	}
}

// push pushes a manifest as clients do: what it names is pushed, or found to be there, before.
func (w *world) push(r *Repository, m Manifest) registry.Digest {
	w.next++
	d := digest(fmt.Sprint("manifest ", w.next))
	for _, b := range m.Blobs {
		r.Layers[b], w.all.Blobs[b] = time.Time{}, Blob{Size: 10}
	}
	r.Manifests[d], w.all.Blobs[d] = m, Blob{Size: 1}
	w.use(r, append(append(m.Blobs, m.Manifests...), d)...)
	return d
}

func (w *world) blob() registry.Digest { return digest(fmt.Sprint("blob ", w.random.IntN(12))) }

// step is one thing that happens.
func (w *world) step() string {
	if at := w.random.IntN(20); at >= 16 {
		watched := time.Duration(w.random.Int64N(int64(w.policy.After)))
		return fmt.Sprintf("look after %s: %s", watched, w.look(watched, 1))
	}
	return w.happens()
}

// happens is one thing that people do.
func (w *world) happens() string {
	r := w.repository()
	some, there := w.any(r)
	switch at := w.random.IntN(16); {
	case at < 4 || !there:
		d := w.push(r, Manifest{Content: Content{Blobs: []registry.Digest{w.blob(), w.blob()}}})
		return fmt.Sprintf("push %s to %s", d.Short(), r.Name)
	case at < 5:
		other, _ := w.any(r)
		return fmt.Sprintf("push the index %s of %s and %s", w.push(r, Manifest{Content: Content{Manifests: []registry.Digest{some, other}}}).Short(), some.Short(), other.Short())
	case at < 7:
		return fmt.Sprintf("attach %s to %s", w.push(r, Manifest{Content: Content{Blobs: []registry.Digest{w.blob()}, Subject: some}}).Short(), some.Short())
	case at < 8:
		// OCI's fallback: a list of what is attached, which takes the place of the one before.
		d := w.push(r, Manifest{Content: Content{Manifests: []registry.Digest{some}}})
		subject, _ := w.any(r)
		r.Tags[AttachedPrefix+subject.Hex()] = d
		return fmt.Sprintf("list %s as attached to %s", d.Short(), subject.Short())
	case at < 10:
		tag := fmt.Sprint("v", w.random.IntN(3))
		r.Tags[tag] = some
		w.use(r, some)
		return fmt.Sprintf("tag %s of %s as %s", some.Short(), r.Name, tag)
	case at < 12:
		w.releases = append(w.releases, some)
		w.use(r, some)
		return "create a release of " + some.Short()
	case at < 14 && len(w.releases) > 0:
		gone := w.random.IntN(len(w.releases))
		was := w.releases[gone]
		w.releases = slices.Delete(w.releases, gone, gone+1)
		return "collect the release of " + was.Short()
	case at < 15:
		w.use(r, some)
		return "pull " + some.Short()
	default:
		b := w.blob()
		if _, there := r.Layers[b]; there {
			w.use(r, b)
		}
		return "ask for " + b.Short()
	}
}

// read is the registry as it is now.
func (w *world) read() Registry {
	all := Registry{Blobs: maps.Clone(w.all.Blobs)}
	for _, r := range w.all.Repositories {
		r.Manifests, r.Layers, r.Tags = maps.Clone(r.Manifests), maps.Clone(r.Layers), maps.Clone(r.Tags)
		all.Repositories = append(all.Repositories, r)
	}
	return all
}

func (w *world) named(name string) *Repository {
	return &w.all.Repositories[slices.IndexFunc(w.all.Repositories, func(r Repository) bool { return r.Name == name })]
}

// look decides, and removes what goes, step by step; before each so much happens.
func (w *world) look(watched time.Duration, meanwhile int) string {
	w.now += watched
	named := Named{}
	for _, d := range w.releases {
		named[d] = "release"
	}
	before := w.used
	w.used = map[Object]bool{}
	all := w.read()
	out := Decide(all, named, func(o Object) bool { return before[o] }, w.waits, watched, time.Now(), w.policy)
	w.waits = out.Waits
	links := all.links()
	spared := newSpared(all, func(of Object) (Content, bool, error) {
		m, there := w.named(of.Repository).Manifests[of.Digest]
		return m.Content, there, nil
	})
	done := fmt.Sprintf("%d blobs go", len(out.Layers))
	for _, step := range steps(all, out, 2, 100) {
		for range meanwhile {
			done += ", " + w.happens()
		}
		spared.use(slices.Collect(maps.Keys(w.used)))
		gone := step.except(spared.stays)
		for _, d := range unlink(links, gone, spared) {
			delete(w.all.Blobs, d)
		}
		for _, a := range gone.Artifacts {
			done += ", gone is " + a.Digest.Short() + " of " + a.Repository
			r := w.named(a.Repository)
			delete(r.Manifests, a.Digest)
			for _, tag := range a.Tags {
				if r.Tags[tag] == a.Digest {
					delete(r.Tags, tag)
				}
			}
		}
		for _, l := range gone.Layers {
			if l.Repository != "" {
				delete(w.named(l.Repository).Layers, l.Digest)
			}
		}
	}
	return done
}

// roots are the manifests of a repository that are needed by themselves.
func (w *world) roots(r Repository) map[registry.Digest]bool {
	some := map[registry.Digest]bool{}
	for d := range r.Manifests {
		some[d] = slices.Contains(w.releases, d) || slices.Contains(w.releases, r.Manifests[d].Subject)
	}
	for tag, of := range r.Tags {
		subject, attached := attachedTo(tag)
		_, there := r.Manifests[subject]
		if !attached || !there || subject == of || slices.Contains(w.releases, subject) {
			some[of] = true
		}
	}
	return some
}

// needs are the manifests that belong to some, found the slow way: by asking of each manifest whether it belongs to one that does, until no more do.
func needs(r Repository, some map[registry.Digest]bool) {
	for again := true; again; {
		again = false
		for d, m := range r.Manifests {
			for other, of := range r.Manifests {
				belongs := slices.Contains(of.Manifests, d) || of.Subject == d || m.Subject == other || r.Tags[AttachedPrefix+other.Hex()] == d || r.Tags[AttachedPrefix+d.Hex()] == other
				if some[other] && belongs && !some[d] {
					some[d], again = true, true
				}
			}
		}
	}
}

// whole says what is missing of what is needed.
func (w *world) whole(pushed map[Object]Manifest) error {
	for _, r := range w.all.Repositories {
		some := w.roots(r)
		maps.DeleteFunc(some, func(_ registry.Digest, root bool) bool { return !root })
		for o := range pushed {
			if o.Repository == r.Name && slices.Contains(w.releases, o.Digest) {
				some[o.Digest] = true
			}
		}
		for o, at := range w.pulled {
			if _, manifest := pushed[o]; o.Repository == r.Name && w.now-at < w.policy.After {
				if _, there := w.all.Blobs[o.Digest]; !there {
					return fmt.Errorf("%s of %s was used %s ago and is gone (a manifest: %v)", o.Digest.Short(), r.Name, w.now-at, manifest)
				}
			}
		}
		// By all that there ever was: what is gone would otherwise be missed by nobody.
		ever := Repository{Name: r.Name, Manifests: map[registry.Digest]Manifest{}, Tags: r.Tags}
		for o, m := range pushed {
			if o.Repository == r.Name {
				ever.Manifests[o.Digest] = m
			}
		}
		// But what was attached to something while nothing needed that may have gone with it.
		for d := range some {
			if _, there := r.Manifests[d]; !there {
				return fmt.Errorf("%s of %s is needed, and gone", d.Short(), r.Name)
			}
		}
		needs(ever, some)
		for d := range some {
			m, there := r.Manifests[d]
			if !there {
				return fmt.Errorf("%s of %s belongs to what is needed, and is gone", d.Short(), r.Name)
			}
			for _, b := range append(slices.Clone(m.Blobs), d) {
				if _, there := w.all.Blobs[b]; !there || !has(r.Layers, b) && b != d {
					return fmt.Errorf("the blob %s of %s of %s is needed, and gone", b.Short(), d.Short(), r.Name)
				}
			}
		}
	}
	return nil
}

// Whatever is pushed, tagged, released, pulled and collected, in whatever order: nothing that a release or a tag needs is ever missing, nothing goes that was used shortly before, and once nothing
// happens any more all else is gone.
func TestSequences(t *testing.T) {
	for seed := range uint64(150) {
		w := &world{
			random: rand.New(rand.NewPCG(seed, 1)), waits: Waits{}, used: map[Object]bool{}, pulled: map[Object]time.Duration{},
			policy: Policy{After: 90 * day}, all: Registry{Blobs: map[registry.Digest]Blob{}},
		}
		for _, name := range []string{"a", "b"} {
			w.all.Repositories = append(w.all.Repositories, Repository{Name: name, Manifests: map[registry.Digest]Manifest{}, Layers: map[registry.Digest]time.Time{}, Tags: map[string]registry.Digest{}})
		}
		pushed := map[Object]Manifest{}
		var done []string
		for range 60 {
			done = append(done, w.step())
			for _, r := range w.all.Repositories {
				for d, m := range r.Manifests {
					pushed[Object{r.Name, d}] = m
				}
				// What has gone, with all that belongs to it, is nobody's any more.
				for o := range pushed {
					if _, there := r.Manifests[o.Digest]; o.Repository == r.Name && !there && !w.needed(r, pushed, o.Digest) {
						delete(pushed, o)
					}
				}
			}
			if err := w.whole(pushed); err != nil {
				t.Fatalf("seed %d: %v, after\n%q", seed, err, done)
			}
		}
		for range 3 {
			w.look(w.policy.After, 0)
		}
		if err := w.whole(pushed); err != nil {
			t.Fatalf("seed %d: %v, at last", seed, err)
		}
		linked := map[registry.Digest]bool{}
		for _, r := range w.all.Repositories {
			some := w.roots(r)
			needs(r, some)
			blobs := map[registry.Digest]bool{}
			for d, m := range r.Manifests {
				if !some[d] {
					t.Errorf("seed %d: %s of %s is left, and nothing needs it", seed, d.Short(), r.Name)
				}
				linked[d] = true
				for _, b := range m.Blobs {
					blobs[b], linked[b] = true, true
				}
			}
			for b := range r.Layers {
				if !blobs[b] {
					t.Errorf("seed %d: the blob %s of %s is left, and nothing needs it", seed, b.Short(), r.Name)
				}
			}
		}
		for d := range w.all.Blobs {
			if !linked[d] {
				t.Errorf("seed %d: the bytes of %s are left, and nothing needs them", seed, d.Short())
			}
		}
	}
}

// needed says whether something belonged to what is needed now, by what there ever was.
func (w *world) needed(r Repository, pushed map[Object]Manifest, of registry.Digest) bool {
	ever := Repository{Name: r.Name, Manifests: map[registry.Digest]Manifest{}, Tags: r.Tags}
	for o, m := range pushed {
		if o.Repository == r.Name {
			ever.Manifests[o.Digest] = m
		}
	}
	some := w.roots(ever)
	needs(ever, some)
	return some[of]
}

func has[K comparable, V any](m map[K]V, key K) bool {
	_, there := m[key]
	return there
}
