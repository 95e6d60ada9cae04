package model

// ReleaseRef is how a person names a release: NAME (the newest), NAME@sha256:HEX, or a unique prefix of the hash.
type ReleaseRef struct {
	Name string
	// Hash is sha256: and 64 or fewer hexadecimal digits; empty: the newest.
	Hash string
}

// ParseReleaseRef reads NAME[@sha256:HEX].
func ParseReleaseRef(text string) (ReleaseRef, error) { return ReleaseRef{}, nil }

// Matches says whether id is what the reference may mean.
func (r ReleaseRef) Matches(id ReleaseID) bool { return false }

// Exact says whether the reference holds the whole hash.
func (r ReleaseRef) Exact() bool { return false }
