package model

import "strings"

// MinHashPrefix is how many hexadecimal digits a shortened hash needs at least.
const MinHashPrefix = 4

// ReleaseRef is how a person names a release: NAME (the newest), NAME@sha256:HEX, or NAME@sha256: with a unique prefix of
// the hash.
type ReleaseRef struct {
	Name string
	// Hash is sha256: and MinHashPrefix to 64 hexadecimal digits; empty: the newest.
	Hash string
}

// ParseReleaseRef reads NAME[@sha256:HEX]. Errors are of kind ErrInvalid.
func ParseReleaseRef(text string) (ReleaseRef, error) {
	const next = "use NAME, or NAME@sha256:HEX with at least 4 digits"
	name, hash, pinned := strings.Cut(text, "@")
	if reason := dnsLabelProblem(name); reason != "" {
		return ReleaseRef{}, Invalidf("", "", next, "%q names no release: the name %s", shorten(text), reason)
	}
	if !pinned {
		return ReleaseRef{Name: name}, nil
	}
	hex, ok := strings.CutPrefix(hash, digestPrefix)
	if !ok || len(hex) < MinHashPrefix || len(hex) > digestHex || !lowerHex(hex) {
		return ReleaseRef{}, Invalidf("", "", next, "%q names no release: %q is no hash", shorten(text), shorten(hash))
	}
	return ReleaseRef{Name: name, Hash: hash}, nil
}

// String is the reference as ParseReleaseRef reads it.
func (r ReleaseRef) String() string {
	if r.Hash == "" {
		return r.Name
	}
	return r.Name + "@" + r.Hash
}

// Matches says whether id is what the reference may mean.
func (r ReleaseRef) Matches(id ReleaseID) bool {
	return r.Name == id.Name && strings.HasPrefix(id.Hash, r.Hash)
}

// Exact says whether the reference holds the whole hash, so that it means one release and no other.
func (r ReleaseRef) Exact() bool {
	return len(r.Hash) == len(digestPrefix)+digestHex
}
