package model

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"
	"unicode/utf8"
)

// Limits of the secrets that the distributor keeps.
const (
	// MaxSecretVersions is how many values of a secret are kept.
	MaxSecretVersions = 16
	// MaxLayerSecrets is how many names of secrets a layer may have; one whose values were deleted counts, since it is never given a version twice.
	MaxLayerSecrets = 1024
)

// KeptSecret is a secret that the distributor keeps for the releases of a layer, without its values: those are sealed, and elsewhere.
type KeptSecret struct {
	Layer Layer  `json:"layer"`
	Name  string `json:"name"`
	// Last is the highest version that was given; none is given twice, but where a backup was restored in between: see SecretVersion.ID.
	Last int64 `json:"last"`
	// Versions are those that are there, the oldest first; none: all were deleted.
	Versions []SecretVersion `json:"versions,omitempty"`
	// Revision is the store's, of the row; 0: there is none.
	Revision int64 `json:"-"`
}

// SecretVersion is one value of a kept secret; it never changes.
type SecretVersion struct {
	Version int64 `json:"version"`
	// ID is random, made when it was set. A store that was restored from a backup counts on from there, and gives numbers once more; nodes that hold what such a number was
	// before have another id of it.
	ID string `json:"id"`
	// Key is the id of the key that the value is sealed with.
	Key    string    `json:"key"`
	SetAt  time.Time `json:"setAt"`
	SetBy  string    `json:"setBy"`
	Reason string    `json:"reason,omitempty"`
}

// Object names it in errors and in the audit log: secret/LAYER/NAME.
func (s KeptSecret) Object() string { return "secret/" + string(s.Layer) + "/" + s.Name }

// secretIDBytes is the size of the id of a version.
const secretIDBytes = 16

// NewSecretID makes the id of a version.
func NewSecretID() (string, error) {
	var id [secretIDBytes]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", fmt.Errorf("make the id of a secret's version: %w", err)
	}
	return hex.EncodeToString(id[:]), nil
}

// Ref names one of its versions; without an id where it is not there.
func (s KeptSecret) Ref(version int64) SecretRef {
	v, _ := s.Find(version)
	return SecretRef{Name: s.Name, Layer: s.Layer, Version: version, ID: v.ID}
}

// Find gives a version; false: it is not there.
func (s KeptSecret) Find(version int64) (SecretVersion, bool) {
	for _, v := range s.Versions {
		if v.Version == version {
			return v, true
		}
	}
	return SecretVersion{}, false
}

// KeptSecretChange is one transaction about a kept secret.
type KeptSecretChange struct {
	// Secret is its row after it; Revision is that of before.
	Secret KeptSecret
	// Sealed are the values that are written.
	Sealed map[SecretRef][]byte
	// Gone are those whose values are removed.
	Gone []SecretRef
}

// SecretProblem says why a value cannot be one of a secret; empty: it can. It says nothing of the value but its length.
func SecretProblem(value []byte) string {
	switch {
	case len(value) == 0:
		return "is empty"
	case len(value) > MaxSecret:
		return fmt.Sprintf("has more than %d bytes", MaxSecret)
	case !utf8.Valid(value) || bytes.IndexByte(value, 0) >= 0:
		return "is no text in UTF-8; encode it in base64, if the filter takes that"
	}
	return ""
}

// MayHold says whether what a layer gives may hold a secret of another one: its own, or any where it is global, whose filters are everybody's to configure. No team is any service's
// nor any service a team's by their names, and every team's release can be laid over every node that the team may roll out to.
func (l Layer) MayHold(secretOf Layer) bool {
	return l == secretOf || l == LayerGlobal
}
