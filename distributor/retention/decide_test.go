package retention

import (
	"fmt"
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
	r := Repository{Name: repository, Manifests: map[registry.Digest]Manifest{}, Layers: map[registry.Digest]bool{}, Tags: map[string]Tag{}}
	all := Registry{Blobs: map[registry.Digest]int64{}}
	for name, m := range manifests {
		r.Manifests[digest(name)] = m
		all.Blobs[digest(name)] = 1
		for _, b := range m.Blobs {
			r.Layers[b], all.Blobs[b] = true, 10
		}
	}
	for _, b := range more {
		r.Layers[digest(b)], all.Blobs[digest(b)] = true, 10
	}
	for tag, name := range tags {
		at := time.Unix(0, 0)
		if n, err := time.ParseDuration(strings.TrimPrefix(tag, "at-")); err == nil {
			at = at.Add(n)
		}
		r.Tags[tag] = Tag{Digest: digest(name), Since: at}
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
		"of many tags the newest count": {
			in:     holding(repository, map[string]Manifest{"a": manifestOf("a1"), "b": manifestOf("b1"), "c": manifestOf("c1")}, map[string]string{"at-1h": "a", "at-2h": "b", "at-3h": "c"}),
			policy: Policy{KeepTags: 2}, kept: []string{"b=tag at-2h", "c=tag at-3h"}, gone: []string{"a"}, blobs: []string{"a1"},
		},
		"a release names what an old tag does": {
			in:     holding(repository, map[string]Manifest{"a": manifestOf("a1"), "b": manifestOf("b1")}, map[string]string{"at-1h": "a", "at-2h": "b"}),
			policy: Policy{KeepTags: 1}, named: named, kept: []string{"a=release edge@sha256:1 names it", "b=tag at-2h"},
		},
		"a release's own document is no person's": {
			in:     holding("waft/releases/edge", map[string]Manifest{"document": manifestOf("release"), "signature": manifestOf("s1").attachedTo("document"), "old": manifestOf("gone")}, map[string]string{"1": "document", "2": "old"}),
			policy: Policy{KeepTags: -1, Documents: "waft/releases"}, named: Named{digest("release"): "release edge@sha256:1"},
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
	} {
		t.Run(name, func(t *testing.T) {
			names := map[registry.Digest]string{}
			everything := Waits{}
			for d := range tc.in.Blobs {
				everything[Object{tc.in.Repositories[0].Name, d}] = 89 * day
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
			if tc.policy.KeepTags == 0 {
				tc.policy.KeepTags = -1
			}
			tc.policy.After = 90 * day
			decide := func(waits Waits, watched time.Duration) (kept map[string]string, gone, blobs []string, out Outcome) {
				out = Decide(tc.in, tc.named, used, waits, watched, tc.policy)
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
		out := Decide(all, nil, func(Object) bool { return false }, waits, time.Hour, Policy{After: 90 * day, KeepTags: -1})
		for _, a := range out.Artifacts {
			// Nothing needs the index of an image that waits.
			want := a.Digest == digest("b") || a.Digest == digest("list") && young != "list"
			if a.Goes != want {
				t.Errorf("while %s waits, %s goes: %v", young, a.Digest, a.Goes)
			}
		}
		gone := fmt.Sprint(out.removal().objects())
		for blob, want := range map[string]bool{"a1": false, "s1": false, "b1": true, "common": false} {
			if got := strings.Contains(gone, string(digest(blob))); got != want {
				t.Errorf("while %s waits, the blob %s goes: %v", young, blob, got)
			}
		}
	}
}
