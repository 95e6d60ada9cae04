package retention

import (
	"maps"
	"slices"

	"github.com/waft-project/waft/registry"
)

const (
	// stepObjects is how many artifacts, or blobs without one, are recorded and removed at once, or more that belong together: nobody is answered by the registry meanwhile, for which 25 ms for each, with three blobs, were measured on a machine that is busy with other things.
	stepObjects = 25
	// blobsEach is how many blobs go in a step with each of its artifacts, on the average; of artifacts that have more they go in steps of their own: whoever pushes may give one thousands.
	blobsEach = 5
	// lookObjects is how many of each one look removes; the rest goes at the next.
	lookObjects = 1000
)

// steps are what goes in one look, one step after the other. What belongs together goes in one step, unless it is more than atMost, so that nobody sees an artifact without its signatures; a blob of a
// repository goes with the last artifact that names it.
func steps(all Registry, out Outcome, each, atMost int) []Removal {
	going := map[string]map[registry.Digest]Fate{}
	for _, a := range out.Artifacts {
		if a.Goes {
			if going[a.Repository] == nil {
				going[a.Repository] = map[registry.Digest]Fate{}
			}
			going[a.Repository][a.Digest] = a
		}
	}
	var list []Removal
	at := map[Object]int{}
	artifacts := 0
fill:
	for _, r := range all.Repositories {
		for _, together := range belonging(r, going[r.Name]) {
			if artifacts > 0 && artifacts+len(together) > atMost {
				break fill
			}
			together = together[:min(len(together), atMost)]
			artifacts += len(together)
			last := len(list) - 1
			if last < 0 || len(list[last].Artifacts)+len(together) > each {
				list = append(list, Removal{})
				last++
			}
			for _, digest := range together {
				a := going[r.Name][digest]
				at[a.Object] = last
				list[last].Artifacts = append(list[last].Artifacts, a)
			}
		}
	}
	layers := map[string]map[registry.Digest]Layer{}
	var alone []Layer
	for _, l := range out.Layers {
		if l.Alone {
			alone = append(alone, l)
			continue
		}
		if layers[l.Repository] == nil {
			layers[l.Repository] = map[registry.Digest]Layer{}
		}
		layers[l.Repository][l.Digest] = l
	}
	for _, r := range all.Repositories {
		last := map[registry.Digest]int{} // the step in which the last goes that names it; negative: that is in no step
		for digest, m := range r.Manifests {
			step, goes := at[Object{r.Name, digest}]
			if !goes {
				step = -1
			}
			for _, blob := range m.Blobs {
				if _, is := layers[r.Name][blob]; !is {
					continue
				}
				if before, known := last[blob]; known && (before < 0 || step >= 0 && before > step) {
					continue
				}
				last[blob] = step
			}
		}
		for _, blob := range slices.Sorted(maps.Keys(last)) {
			if step := last[blob]; step >= 0 {
				list[step].Layers = append(list[step].Layers, layers[r.Name][blob])
			}
		}
	}
	var short []Removal
	for _, step := range list {
		with := min(len(step.Layers), each*blobsEach)
		short = append(short, Removal{Artifacts: step.Artifacts, Layers: step.Layers[:with]})
		for more := range slices.Chunk(step.Layers[with:], each*blobsEach) {
			short = append(short, Removal{Layers: more})
		}
	}
	for part := range slices.Chunk(alone[:min(len(alone), atMost)], each) {
		short = append(short, Removal{Layers: part})
	}
	return short
}

// belonging are those artifacts of a repository that go, each list of what belongs together, and in it what names before what is named.
func belonging(r Repository, going map[registry.Digest]Fate) (all [][]registry.Digest) {
	if len(going) == 0 {
		return nil
	}
	namers, beside := map[registry.Digest][]registry.Digest{}, map[registry.Digest][]registry.Digest{}
	names := func(by, what registry.Digest) {
		_, there := going[by]
		if _, goes := going[what]; there && goes && by != what {
			namers[what] = append(namers[what], by)
			beside[what], beside[by] = append(beside[what], by), append(beside[by], what)
		}
	}
	digests := slices.Sorted(maps.Keys(going))
	for _, digest := range digests {
		m := r.Manifests[digest]
		for _, part := range m.Manifests {
			names(digest, part)
		}
		names(digest, m.Subject)
		for _, tag := range going[digest].Tags {
			if subject, attached := attachedTo(tag); attached {
				names(digest, subject)
			}
		}
	}
	seen, placed := map[registry.Digest]bool{}, map[registry.Digest]bool{}
	for _, digest := range digests {
		if seen[digest] {
			continue
		}
		seen[digest] = true
		together := []registry.Digest{digest}
		for next := 0; next < len(together); next++ {
			for _, other := range beside[together[next]] {
				if !seen[other] {
					seen[other] = true
					together = append(together, other)
				}
			}
		}
		var ordered []registry.Digest
		var place func(registry.Digest)
		place = func(d registry.Digest) {
			if placed[d] {
				return
			}
			placed[d] = true
			for _, by := range namers[d] {
				place(by)
			}
			ordered = append(ordered, d)
		}
		for _, d := range together {
			place(d)
		}
		all = append(all, ordered)
	}
	return all
}
