package manifest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ErrInvalid is in the chain of every error of Decode, Encode and Validate.
var ErrInvalid = errors.New("invalid manifest")

// Error says which field of a manifest is wrong and why.
type Error struct {
	// Field is the path of the field ("imports[3]"), or empty when the whole document is at fault.
	Field string
	// Reason is what is wrong with it.
	Reason string
}

// Error is "invalid manifest: FIELD: REASON".
func (e *Error) Error() string {
	if e.Field == "" {
		return ErrInvalid.Error() + ": " + e.Reason
	}
	return ErrInvalid.Error() + ": " + e.Field + ": " + e.Reason
}

// Unwrap makes errors.Is(err, ErrInvalid) true.
func (e *Error) Unwrap() error { return ErrInvalid }

func invalidf(field, format string, args ...any) error {
	// A path can hold keys from outside: keep the message one readable line.
	if len(field) > 200 || strings.ContainsFunc(field, func(r rune) bool { return r < ' ' }) {
		field = quote(field)
	}
	return &Error{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Validate checks every field on its own and against the limits. It does not compare the manifest with a module.
func (m Manifest) Validate() error {
	if err := ValidName(m.Name); err != nil {
		return err
	}
	if err := ValidVersion(m.Version); err != nil {
		return err
	}
	if !isHex(m.SHA256, 64) {
		return invalidf("sha256", "want 64 lower-case hex digits, have %s", quote(m.SHA256))
	}
	if m.Size < 8 || m.Size > MaxModuleBytes {
		return invalidf("size", "want 8 to %d bytes, have %d", int64(MaxModuleBytes), m.Size)
	}
	switch m.ABI {
	case ABI010, ABI020, ABI021:
	default:
		return invalidf("abi", "want %s, %s or %s, have %s", ABI010, ABI020, ABI021, quote(m.ABI))
	}
	if m.Language != "" {
		if err := validName("language", m.Language, "._+-#"); err != nil {
			return err
		}
	}
	if err := validImports("imports", m.Imports); err != nil {
		return err
	}
	if len(m.Envoys) > MaxProfiles || len(m.Missing) > MaxProfiles {
		return invalidf("envoys", "over the limit of %d profiles", MaxProfiles)
	}
	for i, p := range m.Envoys {
		field := fmt.Sprintf("envoys[%d]", i)
		if err := validName(field, p, "._-"); err != nil {
			return err
		}
		if slices.Contains(m.Envoys[:i], p) {
			return invalidf(field, "%s is there twice", p)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(m.Missing)) {
		field := "missing." + p
		if err := validName(field, p, "._-"); err != nil {
			return err
		}
		if m.LoadableBy(p) {
			return invalidf(field, "%s is in envoys, too", p)
		}
		if err := validImports(field, m.Missing[p]); err != nil {
			return err
		}
	}
	if m.MemoryMax < 0 || m.MemoryMax > MaxMemoryBytes {
		return invalidf("memoryMax", "want 0 to %d bytes, have %d", int64(MaxMemoryBytes), m.MemoryMax)
	}
	if m.ConfigSchema != nil {
		if err := checkJSON("configSchema", m.ConfigSchema); err != nil {
			return err
		}
		if c := m.ConfigSchema[0]; c != '{' && c != 't' && c != 'f' {
			return invalidf("configSchema", "a JSON Schema is an object or a boolean")
		}
	}
	return nil
}

func validImports(field string, imports []string) error {
	if len(imports) > MaxImports {
		return invalidf(field, "%d entries, over the limit of %d", len(imports), MaxImports)
	}
	for i, s := range imports {
		at := fmt.Sprintf("%s[%d]", field, i)
		module, name, ok := strings.Cut(s, ".")
		if !ok || module == "" || name == "" {
			return invalidf(at, "want MODULE.FUNCTION, have %s", quote(s))
		}
		if len(s) > MaxImportBytes {
			return invalidf(at, "%d bytes long, over the limit of %d", len(s), MaxImportBytes)
		}
		if i > 0 && imports[i-1] >= s {
			return invalidf(at, "%s is not in sorted order, or there twice", quote(s))
		}
	}
	return nil
}

// ValidName says why a string cannot be a filter's name, or nil.
func ValidName(s string) error { return validName("name", s, "._-") }

// ValidVersion says why a string cannot be a filter's version, or nil.
func ValidVersion(s string) error { return validName("version", s, "._+-") }

// validName keeps names to characters that are safe in file names, Envoy's statistics and OCI annotations.
func validName(field, s, extra string) error {
	if s == "" {
		return invalidf(field, "is empty")
	}
	if len(s) > MaxNameBytes {
		return invalidf(field, "%d bytes long, over the limit of %d", len(s), MaxNameBytes)
	}
	for i, c := range []byte(s) {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || strings.IndexByte(extra, c) < 0) {
			return invalidf(field, "%s: want letters, digits and %q, beginning with a letter or a digit", quote(s), extra)
		}
	}
	return nil
}

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// quote shows a value from outside in an error: quoted, and cut so that the message stays one line.
func quote(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return fmt.Sprintf("%q", s)
}
