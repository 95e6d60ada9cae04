package retention

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/registry"
)

// Policy says what may go.
type Policy struct {
	// After is for how long an artifact must have been unneeded. It is to be longer than what lies between the moment when somebody is told that a blob is there and the one when
	// a manifest or a release names it.
	After time.Duration
	// Documents is the repository below which tags keep nothing by themselves, since they are not people's; empty: there is none.
	Documents string
}

// Named is what is named elsewhere, by its digest, and what names it: "release edge-auth@sha256:…".
type Named map[registry.Digest]string

// Object is a manifest, or a blob, of a repository; or a blob that no repository has, which has no Repository.
type Object struct {
	Repository string
	Digest     registry.Digest
}

// Fate is what becomes of an artifact, and why.
type Fate struct {
	Object
	// Tags are those that name it, sorted.
	Tags []string
	// Size is of its manifest and of what that names, in bytes. Others may have some of it, too.
	Size int64
	// Pushed is when it was pushed last.
	Pushed time.Time
	// Kept is why it is needed; empty: it is not. Once it was unneeded for Policy.After, and nothing that stays has to do with it, it goes.
	Kept string
	// Unneeded is for how long it was seen not to be needed.
	Unneeded time.Duration
	Goes     bool
}

// Layer is a blob that goes from its repository, or that no repository has.
type Layer struct {
	Object
	Size     int64
	Unneeded time.Duration
	// Alone: no manifest that is there names it.
	Alone bool
}

// Outcome is what is decided.
type Outcome struct {
	// Artifacts are the manifests there are, by repository and digest.
	Artifacts []Fate
	// Layers are the blobs that go from their repositories, by repository and digest.
	Layers []Layer
	// Waits is for how long each thing that is not needed was seen to be so.
	Waits Waits
}

// Waits are for how long things were seen not to be needed. What is not in it has just been.
type Waits map[Object]time.Duration

// Decide says what stays, why, and what goes. An artifact is needed that is named elsewhere by its digest, or one of whose blobs is, or what it is attached to; that a tag names which
// counts; or that somebody has used since the last look. With it are needed what it consists of, what it is attached to, and what is attached to it. What is not needed goes
// when it was unneeded for as long as the policy says, and is as old, unless something that stays has to do with it in these ways. watched is how long it is since the last look. It is pure, and the only place
// where that is decided.
func Decide(all Registry, named Named, used func(Object) bool, earlier Waits, watched time.Duration, now time.Time, policy Policy) Outcome {
	d := decision{all: all, named: named, used: used, earlier: earlier, watched: watched, now: now, policy: policy, out: Outcome{Waits: Waits{}}}
	d.unlinked()
	for _, repository := range all.Repositories {
		d.repository(repository)
	}
	slices.SortFunc(d.out.Layers, func(a, b Layer) int { return compare(a.Object, b.Object) })
	return d.out
}

func compare(a, b Object) int {
	return cmp.Or(strings.Compare(a.Repository, b.Repository), strings.Compare(string(a.Digest), string(b.Digest)))
}

// decision is one call of Decide.
type decision struct {
	all     Registry
	named   Named
	used    func(Object) bool
	earlier Waits
	watched time.Duration
	now     time.Time
	policy  Policy
	out     Outcome
}

// wait says for how long something was seen to be unneeded, which is no longer than it is there, and whether that is long enough.
func (d *decision) wait(of Object, since time.Time) (waited time.Duration, over bool) {
	was, waiting := d.earlier[of]
	if waiting {
		waited = max(min(was+d.watched, d.now.Sub(since)), 0)
	}
	d.out.Waits[of] = waited
	return waited, waiting && waited >= d.policy.After
}

// unlinked decides on the blobs that no repository has: what a push, or a removal, that was cut off has left. Where there is no repository at all they stay, since those may have been moved away.
func (d *decision) unlinked() {
	if len(d.all.Repositories) == 0 {
		return
	}
	links := d.all.links()
	for digest, blob := range d.all.Blobs {
		if links[digest] > 0 || d.named[digest] != "" {
			continue
		}
		of := Object{Digest: digest}
		if waited, over := d.wait(of, blob.Written); over {
			d.out.Layers = append(d.out.Layers, Layer{Object: of, Size: blob.Size, Unneeded: waited, Alone: true})
		}
	}
}

func (d *decision) repository(r Repository) {
	object := func(digest registry.Digest) Object { return Object{r.Name, digest} }
	ties, tags, counted := tiesOf(r), r.tagsByDigest(), r.counted(d.policy)
	manifests := slices.Sorted(maps.Keys(r.Manifests))
	why := map[registry.Digest]string{}
	for _, digest := range manifests {
		if reason := d.root(r, digest, counted, tags); reason != "" {
			why[digest] = reason
		}
	}
	ties.spread(why)
	layers := map[registry.Digest]bool{}
	for digest := range r.Layers {
		layers[digest] = r.stays() != "" || d.named[digest] != "" || d.used(object(digest))
	}
	for digest := range why {
		for _, blob := range r.Manifests[digest].Blobs {
			layers[blob] = true
		}
	}

	// What has waited long enough goes, but for what belongs to something that has not.
	stays := maps.Clone(why)
	unneeded := map[registry.Digest]time.Duration{}
	for digest, m := range r.Manifests {
		if why[digest] != "" {
			continue
		}
		waited, over := d.wait(object(digest), m.Pushed)
		unneeded[digest] = waited
		if !over {
			stays[digest] = "waits"
		}
	}
	ties.spread(stays)
	kept, partOf := map[registry.Digest]bool{}, map[registry.Digest]bool{}
	for digest, m := range r.Manifests {
		for _, blob := range m.Blobs {
			partOf[blob] = true
			kept[blob] = kept[blob] || stays[digest] != ""
		}
	}
	for digest, linked := range r.Layers {
		if _, manifest := r.Manifests[digest]; manifest || layers[digest] {
			continue // one that is a manifest, too, goes after that
		}
		if waited, over := d.wait(object(digest), linked); over && !kept[digest] {
			d.out.Layers = append(d.out.Layers, Layer{Object: object(digest), Size: d.all.Blobs[digest].Size, Unneeded: waited, Alone: !partOf[digest]})
		}
	}
	for _, digest := range manifests {
		m := r.Manifests[digest]
		fate := Fate{Object: object(digest), Tags: tags[digest], Pushed: m.Pushed, Kept: why[digest], Unneeded: unneeded[digest], Goes: stays[digest] == "", Size: d.all.Blobs[digest].Size}
		for _, blob := range slices.Compact(slices.Sorted(slices.Values(m.Blobs))) {
			fate.Size += d.all.Blobs[blob].Size
		}
		d.out.Artifacts = append(d.out.Artifacts, fate)
	}
}

// root is why a manifest is needed by itself; empty: it is not. counted are the tags that keep what they name, and tags all of each manifest.
func (d *decision) root(r Repository, digest registry.Digest, counted map[registry.Digest]string, tags map[registry.Digest][]string) string {
	m := r.Manifests[digest]
	if by := d.named[digest]; by != "" {
		return by + " names it"
	}
	for _, blob := range m.Blobs {
		if by := d.named[blob]; by != "" {
			return by + " names a part of it"
		}
	}
	// What it is attached to may be in another repository, or in the registry of another replica.
	if by := d.named[m.Subject]; by != "" {
		return by + " names what it is attached to"
	}
	for _, tag := range tags[digest] {
		if subject, attached := attachedTo(tag); attached && d.named[subject] != "" {
			return d.named[subject] + " names what it is attached to"
		}
	}
	if tag, ok := counted[digest]; ok {
		return "tag " + tag
	}
	if stays := r.stays(); stays != "" {
		return stays
	}
	if d.used(Object{r.Name, digest}) {
		return "somebody has just pushed it, or asked for it"
	}
	return ""
}

// AttachedPrefix begins the tags under which registries keep what is attached to an artifact: OCI's fallback for referrers, and cosign's signatures.
const AttachedPrefix = "sha256-"

// attachedTo is the artifact that a tag keeps something beside.
func attachedTo(tag string) (registry.Digest, bool) {
	hex, ok := strings.CutPrefix(tag, AttachedPrefix)
	hex, _, _ = strings.Cut(hex, ".")
	digest := registry.Digest("sha256:" + hex)
	return digest, ok && digest.Valid()
}

// counted are the manifests that a tag keeps, and the first of those tags. One beside which registries keep what is attached to an artifact keeps nothing by itself while that artifact is in the
// repository: else what is attached was put there for one that is elsewhere (cosign's COSIGN_REPOSITORY), of which nobody here knows whether it is needed.
func (r Repository) counted(policy Policy) map[registry.Digest]string {
	documents := policy.Documents != "" && strings.HasPrefix(r.Name, policy.Documents+"/")
	by := map[registry.Digest]string{}
	for tag, digest := range r.Tags {
		subject, attached := attachedTo(tag)
		if _, there := r.Manifests[subject]; attached && there && subject != digest || documents && !attached {
			continue
		}
		if first, known := by[digest]; !known || tag < first {
			by[digest] = tag
		}
	}
	return by
}

// tagsByDigest are the tags that name each manifest, sorted.
func (r Repository) tagsByDigest() map[registry.Digest][]string {
	all := map[registry.Digest][]string{}
	for tag, digest := range r.Tags {
		all[digest] = append(all[digest], tag)
	}
	for _, tags := range all {
		slices.Sort(tags)
	}
	return all
}

// stays is why all of a repository stays; empty: there is no such reason.
func (r Repository) stays() string {
	switch {
	case r.Unreadable != nil:
		return "its repository cannot be read: " + r.Unreadable.Error()
	case r.Foreign:
		return "its repository has something by another algorithm than sha256"
	}
	return ""
}

// tie is that a manifest which is needed needs another one, too, and in what way.
type tie struct {
	to  registry.Digest
	why string
}

type ties map[registry.Digest][]tie

// tiesOf are those within a repository; a registry knows no others.
func tiesOf(r Repository) ties {
	t := ties{}
	add := func(from, to registry.Digest, why string) {
		if _, there := r.Manifests[to]; there && from != to {
			t[from] = append(t[from], tie{to, why})
		}
	}
	for digest, m := range r.Manifests {
		for _, part := range m.Manifests {
			add(digest, part, "part of %s")
		}
		if m.Subject != "" {
			add(m.Subject, digest, "attached to %s")
			add(digest, m.Subject, "%s is attached to it")
		}
	}
	for tag, digest := range r.Tags {
		if subject, attached := attachedTo(tag); attached {
			add(subject, digest, "attached to %s")
			add(digest, subject, "%s is attached to it")
		}
	}
	for from := range t {
		slices.SortFunc(t[from], func(a, b tie) int {
			return cmp.Or(strings.Compare(string(a.to), string(b.to)), strings.Compare(a.why, b.why))
		})
	}
	return t
}

// spread adds what is needed by what is needed, and why.
func (t ties) spread(why map[registry.Digest]string) {
	for next := slices.Sorted(maps.Keys(why)); len(next) > 0; next = next[1:] {
		for _, tie := range t[next[0]] {
			if _, known := why[tie.to]; !known {
				why[tie.to] = fmt.Sprintf(tie.why, next[0])
				next = append(next, tie.to)
			}
		}
	}
}
