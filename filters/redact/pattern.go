package main

import (
	"cmp"
	"slices"
	"strings"
)

// kind is what was taken out: a tag of the counter redact.replaced.
type kind string

// kindField is the value of a field. The other kinds are what patterns find, by their names in the configuration.
const kindField kind = "field"

// finder tells add of everything of its kind in a text, from left to right and without overlaps. end is behind it.
type finder func(s string, add func(start, end int))

// each is the finder that a function makes which finds the next thing that begins at from or behind it. It may look at what is before from.
func each(next func(s string, from int) (start, end int, ok bool)) finder {
	return func(s string, add func(start, end int)) {
		for from := 0; from < len(s); {
			start, end, ok := next(s, from)
			if !ok {
				return
			}
			add(start, end)
			from = end
		}
	}
}

// pattern is a kind of thing that is found in texts.
type pattern struct {
	kind kind
	find finder
}

// builtin are the patterns that a configuration chooses by name.
var builtin = [...]pattern{
	{"card", each(nextCard)}, {"email", each(nextEmail)}, {"iban", each(nextIBAN)}, {"ssn", each(nextSSN)}, {"phone", each(nextPhone)},
	{"ipv4", each(nextIPv4)}, {"ipv6", each(nextIPv6)}, {"jwt", each(nextJWT)}, {"bearer", each(nextBearer)},
}

// maxPatterns is the most patterns of a policy: all that are built in, and as many of its own as Policy.Expressions may have.
const maxPatterns = len(builtin) + 32

// counts is how often each kind of thing was replaced, by the place of its pattern in the policy; the last is fields.
type counts [maxPatterns + 1]uint64

func (c *counts) addField() { c[maxPatterns]++ }

func (c *counts) sum() uint64 {
	var sum uint64
	for _, n := range c {
		sum += n
	}
	return sum
}

// patterns are what is found in texts.
type patterns []pattern

// span is a part of a text that is taken out, and the place of the pattern that found it.
type span struct{ start, end, pattern int }

// replace puts text in the place of all that the patterns find. What overlaps is replaced together, and counts for what begins first. What
// was not changed is given back as it is.
func (p patterns) replace(s, text string, c *counts) string {
	var spans []span
	for i := range p {
		p[i].find(s, func(start, end int) { spans = append(spans, span{start, end, i}) })
	}
	if spans == nil {
		return s
	}
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	var out strings.Builder
	kept := 0 // what is behind it was not written yet
	for i, one := range spans {
		if i > 0 && one.start < kept {
			kept = max(kept, one.end)
			continue
		}
		out.WriteString(s[kept:one.start])
		out.WriteString(text)
		c[one.pattern]++
		kept = one.end
	}
	out.WriteString(s[kept:])
	return out.String()
}

// freeBefore says whether what begins at i is no part of a longer word.
func freeBefore(s string, i int) bool { return i == 0 || !isWord(s[i-1]) }

// freeBehind says whether what ends at i is no part of a longer word.
func freeBehind(s string, i int) bool { return i >= len(s) || !isWord(s[i]) }

func isWord(c byte) bool { return isLetter(c) || isDigit(c) || c == '_' || c >= 0x80 }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
