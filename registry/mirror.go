package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Mirror is a place that has what a registry has: a copy of it, or a proxy before it. A mirror is trusted for nothing but
// being there: what it gives is verified by digest, and where it fails or gives something else, the next place is asked.
type Mirror struct {
	// Host is HOST or HOST:PORT. Whether it is spoken to without TLS, and with which credentials, is decided for this
	// host, as for any other. The registry's own host may stand among its mirrors, to be asked before some of them;
	// otherwise it is asked last.
	Host string
	// Prefix stands before the repository there, as proxies of several registries want it. Empty: none.
	Prefix string
	// Tags says that the mirror may say what a tag names. Without it a mirror is asked for digests only, and tags are
	// asked of the registry itself: whoever says what a tag names decides what runs.
	Tags bool
}

// ParseMirror reads HOST=MIRROR[/PREFIX][,tags], as it stands on a command line.
func ParseMirror(s string) (registry string, m Mirror, err error) {
	fail := func(format string, args ...any) (string, Mirror, error) {
		return "", Mirror{}, &Error{Op: "mirror", Subject: quote(s), Kind: ErrInvalidReference, Detail: fmt.Sprintf(format, args...),
			Next: "write HOST=MIRROR, HOST=MIRROR/PREFIX, or either with ,tags behind it"}
	}
	registry, rest, ok := strings.Cut(s, "=")
	if !ok {
		return fail("it has no =")
	}
	if place, option, ok := strings.Cut(rest, ","); ok {
		if option != "tags" {
			return fail("%s is not an option", quote(option))
		}
		rest, m.Tags = place, true
	}
	m.Host, m.Prefix, _ = strings.Cut(rest, "/")
	if err := validHost(registry); err != nil {
		return fail("%v", err)
	}
	if !isHost(registry) {
		return fail("%s is not a registry that a reference can name: it has neither a dot nor a port", quote(registry))
	}
	if err := m.valid(); err != nil {
		return fail("%v", err)
	}
	return registry, m, nil
}

func (m Mirror) valid() error {
	if err := validHost(m.Host); err != nil {
		return err
	}
	if m.Prefix != "" {
		return validRepository(m.Prefix)
	}
	return nil
}

// places are where a reference's registry can be asked, in order, as references to them.
func (c *Client) places(ref Reference, byDigest bool) []Reference {
	mirrors := c.mirrors[ref.Registry]
	var places []Reference
	for _, m := range mirrors {
		if m.Host == ref.Registry && m.Prefix == "" {
			places = append(places, ref)
			continue
		}
		if !byDigest && !m.Tags {
			continue
		}
		at := ref
		at.Registry = m.Host
		if m.Prefix != "" {
			at.Repository = m.Prefix + "/" + ref.Repository
		}
		places = append(places, at)
	}
	if !slices.Contains(places, ref) {
		places = append(places, ref)
	}
	return places
}

// inTurn asks the places one after the other until one of them gives what is wanted. Where all fail, the error is that of
// the registry itself, with what the mirrors said.
func inTurn[T any](ctx context.Context, ref Reference, places []Reference, ask func(Reference) (T, error)) (T, error) {
	var zero T
	var own error
	var others []string
	for _, at := range places {
		got, err := ask(at)
		if err == nil {
			return got, nil
		}
		if ctx.Err() != nil || errors.Is(err, ErrStorage) {
			return zero, err
		}
		if at == ref {
			own = err
			continue
		}
		others = append(others, at.Registry+": "+shortly(err))
	}
	var e *Error
	if len(others) == 0 || !errors.As(own, &e) {
		return zero, own
	}
	told := *e
	told.Detail = strings.TrimPrefix(told.Detail+"; mirrors: "+clip(strings.Join(others, ", ")), "; ")
	return zero, &told
}

// shortly is the part of an error that does not repeat what its reader knows already.
func shortly(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	if e.Detail == "" {
		return e.Kind.Error()
	}
	return e.Kind.Error() + ": " + e.Detail
}
