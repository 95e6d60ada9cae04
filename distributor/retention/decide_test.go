package retention

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
)

const day = 24 * time.Hour

// digest is that of something with a name.
func digest(name string) registry.Digest { return registry.DigestOf([]byte(name)) }

func manifestOf(blobs ...string) Manifest {
	var m Manifest
	for _, b := range blobs {
		m.Blobs = append(m.Blobs, digest(b))
	}
	return m
}

func (m Manifest) attachedTo(subject string) Manifest {
	m.Subject = digest(subject)
	return m
}

func indexOf(parts ...string) Manifest {
	var m Manifest
	for _, p := range parts {
		m.Manifests = append(m.Manifests, digest(p))
	}
	return m
}

// holding is a registry with one repository, of manifests and tags by name. Its blobs are those that manifests name, and more.
func holding(repository string, manifests map[string]Manifest, tags map[string]string, more ...string) Registry {
	r := Repository{Name: repository, Manifests: map[registry.Digest]Manifest{}, Layers: map[registry.Digest]time.Time{}, Tags: map[string]registry.Digest{}}
	all := Registry{Blobs: map[registry.Digest]Blob{}}
	for name, m := range manifests {
		r.Manifests[digest(name)] = m
		all.Blobs[digest(name)] = Blob{Size: 1}
		for _, b := range m.Blobs {
			r.Layers[b], all.Blobs[b] = time.Time{}, Blob{Size: 10}
		}
	}
	for _, b := range more {
		r.Layers[digest(b)], all.Blobs[digest(b)] = time.Time{}, Blob{Size: 10}
	}
	for tag, name := range tags {
		r.Tags[tag] = digest(name)
	}
	all.Repositories = []Repository{r}
	return all
}

// What stays, and why; what goes.
func TestDecide(t *testing.T) {
	const repository = "filters/authz"
	images := map[string]Manifest{"a": manifestOf("a1", "common"), "b": manifestOf("b1", "common")}
	named := Named{digest("a"): "release edge@sha256:1"}
	signed := map[string]Manifest{
		"a": manifestOf("a1"), "b": manifestOf("b1"),
		"signature of a": manifestOf("s1").attachedTo("a"), "signature of b": manifestOf("s2").attachedTo("b"), "signature of signature of b": manifestOf("s3").attachedTo("signature of b"),
	}
	attachedTag := func(name string) string { return "sha256-" + digest(name).Hex() }
	for name, tc := range map[string]struct {
		in         Registry
		named      Named
		used       []string
		policy     Policy
		kept, gone []string // with why it is kept, where a "=" stands
		blobs      []string // that go
	}{
		"a release names it": {
			in: holding(repository, images, nil), named: named,
			kept: []string{"a=release edge@sha256:1 names it"}, gone: []string{"b"}, blobs: []string{"b1"},
		},
		"a release names a layer of it": {
			in: holding(repository, images, nil), named: Named{digest("a1"): "release edge@sha256:1"},
			kept: []string{"a=release edge@sha256:1 names a part of it"}, gone: []string{"b"}, blobs: []string{"b1"},
		},
		"a tag names it": {
			in:   holding(repository, images, map[string]string{"1.2.0": "a"}),
			kept: []string{"a=tag 1.2.0"}, gone: []string{"b"}, blobs: []string{"b1"},
		},
		"somebody has pulled it": {
			in: holding(repository, images, nil), used: []string{"a"},
			kept: []string{"a=somebody has just pushed it, or asked for it"}, gone: []string{"b"}, blobs: []string{"b1"},
		},
		"somebody was told that a blob is there": {
			in: holding(repository, images, nil), used: []string{"a1", "common"},
			gone: []string{"a", "b"}, blobs: []string{"b1"},
		},
		"what is attached goes with what it is attached to": {
			in:   holding(repository, signed, map[string]string{"1": "a"}),
			kept: []string{"a=tag 1", "signature of a=attached to " + string(digest("a"))},
			gone: []string{"b", "signature of b", "signature of signature of b"}, blobs: []string{"b1", "s2", "s3"},
		},
		"what is attached keeps what it is attached to": {
			in:   holding(repository, signed, map[string]string{"1": "signature of signature of b"}),
			kept: []string{"signature of signature of b=tag 1", "signature of b", "b"}, gone: []string{"a", "signature of a"}, blobs: []string{"a1", "s1"},
		},
		"the tags of registries for what is attached keep nothing by themselves": {
			in: holding(repository, map[string]Manifest{
				"a": manifestOf("a1"), "b": manifestOf("b1"), "of a": indexOf("signature of a"), "of b": indexOf("signature of b"),
				"signature of a": manifestOf("s1"), "signature of b": manifestOf("s2"), "cosign of a": manifestOf("c1"), "cosign of b": manifestOf("c2"),
			}, map[string]string{"1": "a", attachedTag("a"): "of a", attachedTag("b"): "of b", attachedTag("a") + ".sig": "cosign of a", attachedTag("b") + ".sig": "cosign of b"}),
			kept: []string{"a=tag 1", "of a", "signature of a", "cosign of a"}, gone: []string{"b", "of b", "signature of b", "cosign of b"}, blobs: []string{"b1", "s2", "c2"},
		},
		"a tag that only looks like one of those is somebody's": {
			in:   holding(repository, images, map[string]string{"sha256-mine": "a"}),
			kept: []string{"a=tag sha256-mine"}, gone: []string{"b"}, blobs: []string{"b1"},
		},
		"an index keeps what it is made of": {
			in:   holding(repository, map[string]Manifest{"list": indexOf("a", "nested"), "nested": indexOf("b"), "a": manifestOf("a1"), "b": manifestOf("b1"), "c": manifestOf("c1")}, map[string]string{"1": "list"}),
			kept: []string{"list=tag 1", "nested=part of " + string(digest("list")), "a", "b"}, gone: []string{"c"}, blobs: []string{"c1"},
		},
		"an index goes, and what a release names of it stays": {
			in: holding(repository, map[string]Manifest{"list": indexOf("a", "b"), "a": manifestOf("a1"), "b": manifestOf("b1")}, nil), named: named,
			kept: []string{"a"}, gone: []string{"list", "b"}, blobs: []string{"b1"},
		},
		"what is attached to what a release names elsewhere": {
			in: holding(repository, map[string]Manifest{
				"signature": manifestOf("s1").attachedTo("elsewhere"), "of signature": manifestOf("s2").attachedTo("signature"), "cosign": manifestOf("c1"), "signature of another": manifestOf("s3").attachedTo("another"),
			}, map[string]string{attachedTag("elsewhere") + ".sig": "cosign"}),
			named: Named{digest("elsewhere"): "release edge@sha256:1"},
			kept:  []string{"signature=release edge@sha256:1 names what it is attached to", "of signature", "cosign=release edge@sha256:1 names what it is attached to"},
			gone:  []string{"signature of another"}, blobs: []string{"s3"},
		},
		"a tag of what is attached to something that is not there": {
			in:   holding(repository, images, map[string]string{attachedTag("elsewhere") + ".sig": "a"}),
			kept: []string{"a=tag " + attachedTag("elsewhere") + ".sig"}, gone: []string{"b"}, blobs: []string{"b1"},
		},
		"a tag of what is attached to itself": {
			in:   holding(repository, images, map[string]string{attachedTag("a"): "a"}),
			kept: []string{"a=tag " + attachedTag("a")}, gone: []string{"b"}, blobs: []string{"b1"},
		},
		"a tag of what is attached keeps what that is attached to once it is needed": {
			in:   holding(repository, images, map[string]string{attachedTag("a") + ".sig": "b"}),
			used: []string{"b"}, kept: []string{"a=" + string(digest("b")) + " is attached to it", "b"},
		},
		"the signature of a document that is in the registry of another replica": {
			in:     holding("waft/releases/edge", images, map[string]string{attachedTag("elsewhere"): "a", "1": "b"}),
			policy: Policy{Documents: "waft/releases"}, kept: []string{"a=tag " + attachedTag("elsewhere")}, gone: []string{"b"}, blobs: []string{"b1"},
		},
		"a release's own document is no person's": {
			in:     holding("waft/releases/edge", map[string]Manifest{"document": manifestOf("release"), "signature": manifestOf("s1").attachedTo("document"), "old": manifestOf("gone")}, map[string]string{"1": "document", "2": "old"}),
			policy: Policy{Documents: "waft/releases"}, named: Named{digest("release"): "release edge@sha256:1"},
			kept: []string{"document=release edge@sha256:1 names a part of it", "signature"}, gone: []string{"old"}, blobs: []string{"gone"},
		},
		"a blob that no manifest names": {
			in: holding(repository, images, map[string]string{"1": "a", "2": "b"}, "left", "just asked for"), used: []string{"just asked for"},
			kept: []string{"a", "b"}, blobs: []string{"left"},
		},
		"a repository with something that is not understood": {
			in: func() Registry {
				all := holding(repository, images, nil, "left")
				all.Repositories[0].Foreign = true
				return all
			}(),
			kept: []string{"a=its repository has something by another algorithm than sha256", "b"},
		},
		"a repository of which something cannot be read": {
			in: func() Registry {
				all := holding(repository, images, nil, "left")
				all.Repositories[0].Unreadable = errors.New("bad")
				other := holding("other", map[string]Manifest{"c": manifestOf("c1", "common")}, nil)
				all.Repositories = append(all.Repositories, other.Repositories...)
				maps.Copy(all.Blobs, other.Blobs)
				return all
			}(),
			kept: []string{"a=its repository cannot be read: bad", "b"}, gone: []string{"c"}, blobs: []string{"c1", "common"}, // there are links to that in the other
		},
		"a blob that no repository has": {
			in: func() Registry {
				all := holding(repository, images, map[string]string{"1": "a", "2": "b"})
				all.Blobs[digest("of nobody")], all.Blobs[digest("named")] = Blob{Size: 10}, Blob{Size: 10}
				return all
			}(),
			named: Named{digest("named"): "release edge@sha256:1"}, kept: []string{"a", "b"}, blobs: []string{"of nobody"},
		},
		"no repository at all": {in: Registry{Blobs: map[registry.Digest]Blob{digest("a"): {}}}},
	} {
		t.Run(name, func(t *testing.T) {
			names := map[registry.Digest]string{}
			everything := Waits{}
			for d := range tc.in.Blobs {
				everything[Object{Digest: d}] = 89 * day
				for _, r := range tc.in.Repositories {
					everything[Object{r.Name, d}] = 89 * day
				}
			}
			for _, list := range [][]string{tc.kept, tc.gone, tc.blobs} {
				for _, n := range list {
					n, _, _ = strings.Cut(n, "=")
					names[digest(n)] = n
				}
			}
			used := func(o Object) bool {
				return slices.ContainsFunc(tc.used, func(n string) bool { return digest(n) == o.Digest })
			}
			tc.policy.After = 90 * day
			decide := func(waits Waits, watched time.Duration) (kept map[string]string, gone, blobs []string, out Outcome) {
				out = Decide(tc.in, tc.named, used, waits, watched, time.Now(), tc.policy)
				kept = map[string]string{}
				for _, a := range out.Artifacts {
					if a.Goes {
						gone = append(gone, names[a.Digest])
					} else {
						kept[names[a.Digest]] = a.Kept
					}
				}
				for _, l := range out.Layers {
					blobs = append(blobs, names[l.Digest])
				}
				slices.Sort(gone)
				slices.Sort(blobs)
				return kept, gone, blobs, out
			}
			kept, gone, blobs, out := decide(everything, day)
			if len(kept) != len(tc.kept) {
				t.Errorf("there stay %q, want %q", kept, tc.kept)
			}
			for _, want := range tc.kept {
				n, why, _ := strings.Cut(want, "=")
				if got, there := kept[n]; !there || got == "" || why != "" && got != why {
					t.Errorf("%s stays: %v, since %q; want %q", n, there, got, why)
				}
			}
			slices.Sort(tc.gone)
			slices.Sort(tc.blobs)
			if !slices.Equal(gone, tc.gone) || !slices.Equal(blobs, tc.blobs) {
				t.Errorf("there go %q and the blobs %q, want %q and %q", gone, blobs, tc.gone, tc.blobs)
			}
			for o, waited := range out.Waits {
				if waited != 90*day {
					t.Errorf("%s has waited for %s", names[o.Digest], waited)
				}
			}
			// Nothing goes sooner, nor what is seen for the first time, however long ago the last look was.
			for what, waits := range map[string]Waits{"an hour too soon": everything, "seen for the first time": {}} {
				watched := day - time.Hour
				if len(waits) == 0 {
					watched = 1000 * day
				}
				if _, gone, blobs, _ := decide(waits, watched); len(gone)+len(blobs) > 0 {
					t.Errorf("%s: there go %q and the blobs %q", what, gone, blobs)
				}
			}
		})
	}
}

// What has not waited long enough keeps what it is made of, what it is attached to and what is attached to it, though those have.
func TestWhatWaitsKeepsWhatBelongsToIt(t *testing.T) {
	all := holding("f", map[string]Manifest{
		"list": indexOf("a"), "a": manifestOf("a1", "common"), "signature": manifestOf("s1").attachedTo("a"), "b": manifestOf("b1", "common"),
	}, nil)
	for _, young := range []string{"list", "a", "signature"} {
		waits := Waits{}
		for d := range all.Blobs {
			waits[Object{"f", d}] = 100 * day
		}
		waits[Object{"f", digest(young)}] = 0
		out := Decide(all, nil, func(Object) bool { return false }, waits, time.Hour, time.Now(), Policy{After: 90 * day})
		for _, a := range out.Artifacts {
			// Nothing needs the index of an image that waits.
			want := a.Digest == digest("b") || a.Digest == digest("list") && young != "list"
			if a.Goes != want {
				t.Errorf("while %s waits, %s goes: %v", young, a.Digest, a.Goes)
			}
		}
		gone := fmt.Sprint(out.Layers)
		for blob, want := range map[string]bool{"a1": false, "s1": false, "b1": true, "common": false} {
			if got := strings.Contains(gone, string(digest(blob))); got != want {
				t.Errorf("while %s waits, the blob %s goes: %v", young, blob, got)
			}
		}
	}
}

// Nothing has been unneeded for longer than it is there, whatever is said of it: it may have been pushed anew since that was written. A clock that was wrong when it was pushed lets it stay.
func TestNothingWaitsLongerThanItIsThere(t *testing.T) {
	now := time.Now()
	for age, goes := range map[time.Duration]bool{91 * day: true, 89 * day: false, -day: false} {
		all := holding("f", map[string]Manifest{"a": manifestOf("a1")}, nil, "left")
		at := now.Add(-age)
		m := all.Repositories[0].Manifests[digest("a")]
		m.Pushed = at
		all.Repositories[0].Manifests[digest("a")] = m
		all.Blobs[digest("of nobody")] = Blob{Written: at}
		for d := range all.Repositories[0].Layers {
			all.Repositories[0].Layers[d] = at
		}
		waits := Waits{}
		for d := range all.Blobs {
			waits[Object{"f", d}], waits[Object{"", d}] = 1000*day, 1000*day
		}
		out := Decide(all, nil, func(Object) bool { return false }, waits, time.Hour, now, Policy{After: 90 * day})
		if want := map[bool]int{true: 3}[goes]; out.Artifacts[0].Goes != goes || len(out.Layers) != want {
			t.Errorf("%s old: it goes: %v, and %d blobs do, want %d", age, out.Artifacts[0].Goes, len(out.Layers), want)
		}
		for of, waited := range out.Waits {
			if waited > max(age, 0) {
				t.Errorf("%s old: %v has waited for %s", age, of, waited)
			}
		}
	}
}

// A registry of a CI that has pushed for years is decided on, and planned to be removed, in about the time that it takes to read it: what is done for each artifact does not grow with how many there are.
func TestManyArtifacts(t *testing.T) {
	const many = 100_000
	r := Repository{Name: "f", Manifests: map[registry.Digest]Manifest{}, Layers: map[registry.Digest]time.Time{}, Tags: map[string]registry.Digest{}}
	all := Registry{Blobs: map[registry.Digest]Blob{}}
	waits := Waits{}
	for i := range many {
		of := digest(fmt.Sprint("manifest ", i))
		m := manifestOf(fmt.Sprint("blob ", i), "common")
		switch i % 4 {
		case 0:
			r.Tags[fmt.Sprint("v", i)] = of
		case 1:
			m = m.attachedTo(fmt.Sprint("manifest ", i-1))
		case 2:
			r.Tags[AttachedPrefix+digest(fmt.Sprint("manifest ", i+1)).Hex()] = of
		}
		r.Manifests[of] = m
		all.Blobs[of], waits[Object{"f", of}] = Blob{Size: 1}, 90*day
		for _, b := range m.Blobs {
			r.Layers[b], all.Blobs[b], waits[Object{"f", b}] = time.Time{}, Blob{Size: 1}, 90*day
		}
	}
	all.Repositories = []Repository{r}
	out := Decide(all, nil, func(Object) bool { return false }, waits, time.Hour, time.Now(), Policy{After: 90 * day})
	gone := 0
	for _, a := range out.Artifacts {
		if a.Goes {
			gone++
		}
	}
	if gone != many/2 || len(out.Layers) != many/2 {
		t.Errorf("there go %d artifacts and %d blobs, want %d of each", gone, len(out.Layers), many/2)
	}
	list := steps(all, out, stepObjects, lookObjects)
	artifacts, layers := 0, 0
	for _, step := range list {
		if len(step.Artifacts) > stepObjects {
			t.Errorf("a step has %d artifacts", len(step.Artifacts))
		}
		artifacts += len(step.Artifacts)
		layers += len(step.Layers)
	}
	if artifacts != lookObjects || layers != lookObjects {
		t.Errorf("one look removes %d artifacts and %d blobs, want %d of each", artifacts, layers, lookObjects)
	}
}
