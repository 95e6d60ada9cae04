package trust

import (
	"errors"
	"fmt"
	"strings"
)

// validPattern checks a pattern of repositories: parts between slashes, in each * for any text, and ** alone as the last.
func validPattern(pattern string) error {
	parts := strings.Split(pattern, "/")
	if len(parts) < 2 {
		return fmt.Errorf("%.100q names no repository on its host", pattern)
	}
	if parts[0] != canonicalHost(parts[0]) {
		return fmt.Errorf("%.100q: write its host as %.100q", pattern, canonicalHost(parts[0]))
	}
	for i, part := range parts {
		switch {
		case part == "":
			return fmt.Errorf("%.100q has an empty part", pattern)
		case part == "**" && i == 0:
			return errors.New("** cannot stand for the host: name the registry")
		case part == "**" && i == len(parts)-1:
		case strings.Contains(part, "**"):
			return fmt.Errorf("%.100q: ** stands alone, and at the end", pattern)
		}
		for _, c := range []byte(part) {
			word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
			if !word && !strings.ContainsRune("._-*:[]", rune(c)) {
				return fmt.Errorf("%.100q: unexpected %q", pattern, c)
			}
		}
	}
	return nil
}

// validReleasePattern checks a pattern of a release's name or layer.
func validReleasePattern(pattern string) error {
	if pattern == "" || len(pattern) > MaxNameBytes {
		return fmt.Errorf("%.100q is not a pattern", pattern)
	}
	for _, c := range []byte(pattern) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9') && !strings.ContainsRune("-./*", rune(c)) {
			return fmt.Errorf("%.100q: unexpected %q", pattern, c)
		}
	}
	return nil
}

// matches says whether a repository, HOST[:PORT]/REPOSITORY, is one that the pattern means.
func matches(pattern, repository string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(repository, "/")
	for i, part := range want {
		if part == "**" {
			return len(have) > i
		}
		if i >= len(have) || !matchesPart(part, have[i]) {
			return false
		}
	}
	return len(have) == len(want)
}

// matchesPart compares one part: what is between stars must stand there in order. Brackets are those of an IPv6 address.
func matchesPart(pattern, s string) bool {
	pieces := strings.Split(pattern, "*")
	if len(pieces) == 1 {
		return pattern == s
	}
	first, last := pieces[0], pieces[len(pieces)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, piece := range pieces[1 : len(pieces)-1] {
		at := strings.Index(s, piece)
		if at < 0 {
			return false
		}
		s = s[at+len(piece):]
	}
	return true
}
