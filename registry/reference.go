package registry

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// DefaultTag is the tag that WithDefaults gives a reference that has neither tag nor digest.
const DefaultTag = "latest"

// Reference names an artifact in a registry, or a repository when it has neither tag nor digest. It is a value: copies are
// independent, and the zero value names nothing.
//
//	HOST[:PORT]/REPOSITORY[:TAG][@sha256:HEX]
//
// The host is never implied. Where both tag and digest are given, the digest decides and the tag is for the reader.
// Grammar: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
type Reference struct {
	// Registry is HOST or HOST:PORT. An IPv6 address stands in brackets.
	Registry string
	// Repository is the path, without a slash at either end.
	Repository string
	// Tag is empty when there is none.
	Tag string
	// Digest is that of the image manifest, empty when there is none.
	Digest Digest
}

// ParseReference parses a reference. It keeps what is there and adds nothing. Every error is an ErrInvalidReference.
func ParseReference(s string) (Reference, error) {
	fail := func(next, format string, args ...any) (Reference, error) {
		return Reference{}, &Error{Op: "reference", Subject: quote(s), Kind: ErrInvalidReference, Detail: fmt.Sprintf(format, args...), Next: next}
	}
	if s == "" {
		return fail("write HOST/REPOSITORY:TAG, such as localhost:7071/filters/authz:1.2.0", "it is empty")
	}
	if len(s) > MaxReferenceBytes {
		return fail("shorten it", "%d bytes, over the limit of %d", len(s), MaxReferenceBytes)
	}
	if scheme, _, ok := strings.Cut(s, "://"); ok {
		return fail("leave out "+quote(scheme+"://"), "a reference has no scheme")
	}
	var ref Reference
	rest := s
	if name, dgst, ok := strings.Cut(rest, "@"); ok {
		d, err := ParseDigest(dgst)
		if err != nil {
			return fail("write @sha256: and the 64 hex digits of the artifact's digest", "%v", err)
		}
		rest, ref.Digest = name, d
	}
	host, path, ok := strings.Cut(rest, "/")
	if !ok {
		return fail("write HOST/REPOSITORY:TAG, such as localhost:7071/"+strings.TrimLeft(rest, ":"), "it names no registry")
	}
	if !isHost(host) {
		return fail("put the registry's host before it: docker.io/"+rest+", or "+host+":443/… if that is the host", "%s is not a registry host: it has neither a dot nor a port", quote(host))
	}
	if err := validHost(host); err != nil {
		return fail("write HOST or HOST:PORT before the first slash", "%v", err)
	}
	ref.Registry = host
	if name, tag, ok := strings.Cut(path, ":"); ok {
		if err := validTag(tag); err != nil {
			return fail("tags have letters, digits, '_', '.' and '-', and begin with none of the last two", "%v", err)
		}
		path, ref.Tag = name, tag
	}
	if err := validRepository(path); err != nil {
		return fail("repositories have lower-case letters, digits, and single separators ('.', '_', '-', '/') between them", "%v", err)
	}
	ref.Repository = path
	return ref, nil
}

// WithDefaults gives a reference that has neither tag nor digest the tag DefaultTag.
func (r Reference) WithDefaults() Reference {
	if r.Tag == "" && r.Digest == "" {
		r.Tag = DefaultTag
	}
	return r
}

// AtDigest is the reference with that digest; the tag stays.
func (r Reference) AtDigest(d Digest) Reference {
	r.Digest = d
	return r
}

// InRepository is the repository alone, without tag and digest.
func (r Reference) InRepository() Reference {
	r.Tag, r.Digest = "", ""
	return r
}

// String is the form that ParseReference reads. The zero value gives the empty string.
func (r Reference) String() string {
	if r == (Reference{}) {
		return ""
	}
	s := r.Registry + "/" + r.Repository
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}

// MarshalText writes String.
func (r Reference) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote; empty text gives the zero value.
func (r *Reference) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = Reference{}
		return nil
	}
	parsed, err := ParseReference(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}

// what a manifest is asked for by: the digest where there is one.
func (r Reference) object() string {
	if r.Digest != "" {
		return string(r.Digest)
	}
	return r.Tag
}

func validHost(s string) error {
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%s is not a port from 1 to 65535", quote(port))
		}
		if host = h; strings.HasPrefix(s, "[") {
			return validIPv6(h)
		}
	} else if strings.HasPrefix(s, "[") {
		h, ok := strings.CutSuffix(s[1:], "]")
		if !ok {
			return fmt.Errorf("%s is not an IPv6 address in brackets", quote(s))
		}
		return validIPv6(h)
	}
	if len(host) == 0 || len(host) > 253 {
		return fmt.Errorf("host %s: want 1 to 253 characters", quote(host))
	}
	for _, label := range strings.Split(host, ".") {
		if len(label) == 0 || len(label) > 63 {
			return fmt.Errorf("host %s: the parts between dots have 1 to 63 characters", quote(host))
		}
		for i, c := range []byte(label) {
			alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
			if !alnum && (c != '-' || i == 0 || i == len(label)-1) {
				return fmt.Errorf("host %s: unexpected %q", quote(host), c)
			}
		}
	}
	return nil
}

func validIPv6(s string) error {
	if net.ParseIP(s) == nil || !strings.Contains(s, ":") {
		return fmt.Errorf("%s is not an IPv6 address", quote(s))
	}
	return nil
}

func validTag(s string) error {
	if len(s) == 0 || len(s) > 128 {
		return fmt.Errorf("tag %s: want 1 to 128 characters, have %d", quote(s), len(s))
	}
	for i, c := range []byte(s) {
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		if !word && (i == 0 || c != '.' && c != '-') {
			return fmt.Errorf("tag %s: unexpected %q", quote(s), c)
		}
	}
	return nil
}

// isHost says whether the first part of a reference is a host: as Docker, so that "filters/authz" is not taken for a host called filters.
func isHost(s string) bool { return s == "localhost" || strings.ContainsAny(s, ".:") }

func validRepository(s string) error {
	if len(s) == 0 || len(s) > 255 {
		return fmt.Errorf("repository %s: want 1 to 255 characters, have %d", quote(s), len(s))
	}
	for _, part := range strings.Split(s, "/") {
		if part == "" {
			return fmt.Errorf("repository %s: has an empty part", quote(s))
		}
		// Alphanumerics with separators between them: one dot, one or two underscores, any number of dashes.
		for i := 0; i < len(part); {
			c := part[i]
			if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
				i++
				continue
			}
			run := len(part[i:]) - len(strings.TrimLeft(part[i:], string(c)))
			inside := i > 0 && i+run < len(part)
			if ok := c == '.' && run == 1 || c == '_' && run <= 2 || c == '-'; !ok || !inside || strings.IndexByte("._-", part[min(i+run, len(part)-1)]) >= 0 {
				if c >= 'A' && c <= 'Z' {
					return fmt.Errorf("repository %s: has an upper-case letter", quote(s))
				}
				return fmt.Errorf("repository %s: unexpected %q", quote(s), part[i:i+run])
			}
			i += run
		}
	}
	return nil
}
