package main

import (
	"errors"
	"fmt"
	"strings"
)

// Origins that are not scheme, host and port.
const (
	anyOrigin  = "*"
	nullOrigin = "null"
)

// originSet says which origins are listed. It is not changed once it is made.
type originSet struct {
	any   bool
	exact map[string]struct{}
	below []originsBelow
}

// originsBelow are the origins on the hosts below one: they begin with the scheme and end with the host and the port.
type originsBelow struct{ scheme, end string }

// add adds an origin, written as in a configuration.
func (s *originSet) add(text string) error {
	if text == anyOrigin {
		s.any = true
		return nil
	}
	if text != nullOrigin {
		if err := checkOrigin(text); err != nil {
			return err
		}
	}
	if scheme, end, ok := strings.Cut(text, "://*."); ok {
		s.below = append(s.below, originsBelow{scheme + "://", "." + end})
		return nil
	}
	if s.exact == nil {
		s.exact = map[string]struct{}{}
	}
	s.exact[text] = struct{}{}
	return nil
}

// has says whether an origin, as a browser sends it, is listed.
func (s *originSet) has(origin string) bool {
	if s.any {
		return true
	}
	if _, ok := s.exact[origin]; ok {
		return true
	}
	for i := range s.below {
		if s.below[i].has(origin) {
			return true
		}
	}
	return false
}

// has looks at all between scheme and end: nothing but a name may stand there, since https://evil.example/.app.example, or
// https://evil.example:80.app.example, is no host below app.example.
func (b *originsBelow) has(origin string) bool {
	if len(origin) <= len(b.scheme)+len(b.end) || !strings.HasPrefix(origin, b.scheme) || !strings.HasSuffix(origin, b.end) {
		return false
	}
	return isHost(origin[len(b.scheme) : len(origin)-len(b.end)])
}

// checkOrigin says what is wrong with an origin in a configuration. Browsers send origins in one form only (RFC 6454, section
// 6.1), so one in another form would never match.
func checkOrigin(text string) error {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || !isScheme(scheme) {
		return fmt.Errorf("%q is no origin: write it as https://app.example, in lower case", text)
	}
	host, port := rest, ""
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.HasSuffix(rest, "]") {
		host, port = rest[:i], rest[i+1:]
		if port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
			return fmt.Errorf("%q has no port number behind its colon", text)
		}
	}
	switch {
	case scheme == "https" && port == "443", scheme == "http" && port == "80":
		return fmt.Errorf("%q: browsers leave the port %s out of an origin; so must the configuration", text, port)
	case strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") && isAddress(host[1:len(host)-1]):
		return nil
	case !isHost(strings.TrimPrefix(host, "*.")):
		return fmt.Errorf("%q is no origin: behind the scheme stands a host in lower case, or *. and a host, and nothing behind the port", text)
	case host == "*.":
		return errors.New("write * for every origin")
	}
	return nil
}

func isScheme(s string) bool {
	return s != "" && 'a' <= s[0] && s[0] <= 'z' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// isHost says whether s is a host's name, or a part of one, as browsers write it in origins.
func isHost(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.' && s[i-1] != '.') {
			return false
		}
	}
	return true
}

// isAddress says whether s looks like an IPv6 address.
func isAddress(s string) bool {
	return strings.Contains(s, ":") && strings.Trim(s, "0123456789abcdef:.") == ""
}
