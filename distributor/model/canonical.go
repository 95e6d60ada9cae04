package model

// Canonical is the RFC 8785 form of a JSON text.
func Canonical(data []byte) ([]byte, error) { return data, nil }

// CanonicalOf is the canonical form of what encoding/json makes of v.
func CanonicalOf(v any) ([]byte, error) { return nil, nil }

// Digest is sha256:HEX of data.
func Digest(data []byte) string { return "" }

// HashOf is Digest of CanonicalOf.
func HashOf(v any) (string, error) { return "", nil }
