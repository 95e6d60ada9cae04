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
	// KeepTags is how many tags of a repository keep what they name: those that were pushed last. Negative: all.
	KeepTags int
	// Documents is the repository below which tags keep nothing by themselves, since they are not people's; empty: there is none.
	Documents string
}

// Named is what is named elsewhere, by its digest, and what names it: "release edge-auth@sha256:…".
type Named map[registry.Digest]string

// Object is a manifest, or a blob, of a repository.
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

// Layer is a blob that goes from its repository.
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

// Decide says what stays, why, and what goes. An artifact is needed that is named elsewhere by its digest, or one of whose blobs is; that a tag names which
// counts; or that somebody has used since the last look. With it are needed what it consists of, what it is attached to, and what is attached to it. What is not needed goes
// when it was unneeded for as long as the policy says, unless something that stays has to do with it in these ways. watched is how long it is since the last look. It is pure, and the only place where that is decided.
func Decide(all Registry, named Named, used func(Object) bool, earlier Waits, watched time.Duration, policy Policy) Outcome {
	out := Outcome{Waits: Waits{}}
	for _, repository := range all.Repositories {
		decideRepository(&out, repository, all.Blobs, named, used, earlier, watched, policy)
	}
	slices.SortFunc(out.Layers, func(a, b Layer) int { return compare(a.Object, b.Object) })
	return out
}

func compare(a, b Object) int {
	return cmp.Or(strings.Compare(a.Repository, b.Repository), strings.Compare(string(a.Digest), string(b.Digest)))
}

func decideRepository(out *Outcome, r Repository, sizes map[registry.Digest]int64, named Named, used func(Object) bool, earlier Waits, watched time.Duration, policy Policy) {
	object := func(d registry.Digest) Object { return Object{r.Name, d} }
	ties := tiesOf(r)
	why := map[registry.Digest]string{}
	for _, digest := range slices.Sorted(maps.Keys(r.Manifests)) {
		if reason := root(r, digest, named, used, policy); reason != "" {
			why[digest] = reason
		}
	}
	ties.spread(why)
	layers := map[registry.Digest]bool{}
	for digest := range r.Layers {
		layers[digest] = r.Foreign || named[digest] != "" || used(object(digest))
	}
	for digest := range why {
		for _, blob := range r.Manifests[digest].Blobs {
			layers[blob] = true
		}
	}

	// What has waited long enough goes, but for what belongs to something that has not.
	stays := maps.Clone(why)
	wait := func(digest registry.Digest) (waited time.Duration, over bool) {
		was, waiting := earlier[object(digest)]
		if waiting {
			waited = was + watched
		}
		out.Waits[object(digest)] = waited
		return waited, waiting && waited >= policy.After
	}
	unneeded := map[registry.Digest]time.Duration{}
	for digest := range r.Manifests {
		if why[digest] != "" {
			continue
		}
		waited, over := wait(digest)
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
	for digest := range r.Layers {
		if _, manifest := r.Manifests[digest]; manifest || layers[digest] {
			continue // one that is a manifest, too, goes after that
		}
		if waited, over := wait(digest); over && !kept[digest] {
			out.Layers = append(out.Layers, Layer{Object: object(digest), Size: sizes[digest], Unneeded: waited, Alone: !partOf[digest]})
		}
	}
	for _, digest := range slices.Sorted(maps.Keys(r.Manifests)) {
		m := r.Manifests[digest]
		fate := Fate{Object: object(digest), Tags: r.tagsOf(digest), Pushed: m.Pushed, Kept: why[digest], Unneeded: unneeded[digest], Goes: stays[digest] == "", Size: sizes[digest]}
		for _, blob := range slices.Compact(slices.Sorted(slices.Values(m.Blobs))) {
			fate.Size += sizes[blob]
		}
		out.Artifacts = append(out.Artifacts, fate)
	}
}

// root is why a manifest is needed by itself; empty: it is not.
func root(r Repository, digest registry.Digest, named Named, used func(Object) bool, policy Policy) string {
	if by := named[digest]; by != "" {
		return by + " names it"
	}
	for _, blob := range r.Manifests[digest].Blobs {
		if by := named[blob]; by != "" {
			return by + " names a part of it"
		}
	}
	if tags := r.counted(policy); slices.ContainsFunc(tags, func(tag string) bool { return r.Tags[tag].Digest == digest }) {
		at := slices.IndexFunc(tags, func(tag string) bool { return r.Tags[tag].Digest == digest })
		return "tag " + tags[at]
	}
	if r.Foreign {
		return "its repository has something by another algorithm than sha256"
	}
	if used(Object{r.Name, digest}) {
		return "somebody has just pushed it, or asked for it"
	}
	return ""
}

// attachedPrefix begins the tags under which registries keep what is attached to an artifact: OCI's fallback for referrers, and cosign's signatures.
const attachedPrefix = "sha256-"

// attachedTo is the artifact that a tag keeps something beside.
func attachedTo(tag string) (registry.Digest, bool) {
	hex, ok := strings.CutPrefix(tag, attachedPrefix)
	hex, _, _ = strings.Cut(hex, ".")
	digest := registry.Digest("sha256:" + hex)
	return digest, ok && digest.Valid()
}

// counted are the tags that keep what they name, those first that were pushed last.
func (r Repository) counted(policy Policy) []string {
	if policy.Documents != "" && strings.HasPrefix(r.Name, policy.Documents+"/") {
		return nil
	}
	var tags []string
	for tag := range r.Tags {
		if _, attached := attachedTo(tag); !attached {
			tags = append(tags, tag)
		}
	}
	slices.SortFunc(tags, func(a, b string) int {
		return cmp.Or(r.Tags[b].Since.Compare(r.Tags[a].Since), strings.Compare(a, b))
	})
	if policy.KeepTags >= 0 && len(tags) > policy.KeepTags {
		tags = tags[:policy.KeepTags]
	}
	return tags
}

// tagsOf are the tags that name a manifest, sorted.
func (r Repository) tagsOf(digest registry.Digest) (tags []string) {
	for tag, of := range r.Tags {
		if of.Digest == digest {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	return tags
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
	for tag, of := range r.Tags {
		if subject, attached := attachedTo(tag); attached {
			add(subject, of.Digest, "attached to %s")
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
