package retention

import "github.com/waft-project/waft/registry"

// spared is what stays of what was decided to go, since somebody has used something that it belongs to while it went. Of the registry it knows what was read when it was decided; what came since it reads.
type spared struct {
	repositories map[string]Repository
	// ties are made of those repositories of which something was used.
	ties map[string]ties
	// content reads a manifest that came since; not there: it is none.
	content func(Object) (_ Content, there bool, err error)

	seen  map[Object]bool
	bytes map[registry.Digest]bool
	// whole are repositories with something new that cannot be read.
	whole map[string]bool
}

func newSpared(all Registry, content func(Object) (Content, bool, error)) *spared {
	s := &spared{repositories: map[string]Repository{}, ties: map[string]ties{}, content: content, seen: map[Object]bool{}, bytes: map[registry.Digest]bool{}, whole: map[string]bool{}}
	for _, r := range all.Repositories {
		s.repositories[r.Name] = r
	}
	return s
}

// use spares what was used, and what belongs to that.
func (s *spared) use(used []Object) {
	for next := used; len(next) > 0; next = next[1:] {
		of := next[0]
		if s.seen[of] {
			continue
		}
		s.seen[of], s.bytes[of.Digest] = true, true
		r := s.repositories[of.Repository]
		m, known := r.Manifests[of.Digest]
		if !known {
			var err error
			if m.Content, known, err = s.content(of); err != nil {
				s.whole[of.Repository] = true
			}
		}
		if !known {
			continue
		}
		for _, blob := range m.Blobs {
			// A blob that is a manifest, too, may be either.
			next = append(next, Object{of.Repository, blob})
		}
		for _, part := range m.Manifests {
			next = append(next, Object{of.Repository, part})
		}
		if m.Subject != "" {
			next = append(next, Object{of.Repository, m.Subject})
		}
		if s.ties[of.Repository] == nil {
			s.ties[of.Repository] = tiesOf(r)
		}
		for _, tie := range s.ties[of.Repository][of.Digest] {
			next = append(next, Object{of.Repository, tie.to})
		}
	}
}

// stays says whether something is to stay.
func (s *spared) stays(of Object) bool {
	if of.Repository == "" {
		return s.bytes[of.Digest]
	}
	return s.seen[of] || s.whole[of.Repository]
}
