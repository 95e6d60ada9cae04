package main

import "strings"

// Bounds of a payment card's number, in digits (ISO/IEC 7812).
const (
	minCardDigits = 13
	maxCardDigits = 19
)

// patterns are what is found in texts.
type patterns struct{ card, email bool }

func (p patterns) any() bool { return p.card || p.email }

// counts is how often each kind of thing was replaced.
type counts struct{ field, card, email uint64 }

func (c *counts) sum() uint64 { return c.field + c.card + c.email }

// replace puts text in the place of all that the patterns find. What was not changed is given back as it is.
func (p patterns) replace(s, text string, c *counts) string {
	var out strings.Builder
	kept := 0 // what is behind it was not written yet
	put := func(start, end int) {
		out.WriteString(s[kept:start])
		out.WriteString(text)
		kept = end
	}
	for i := 0; i < len(s); {
		switch {
		case p.card && isDigit(s[i]) && (i == 0 || !isWord(s[i-1])):
			end, found := cardAt(s, i)
			if found {
				put(i, end)
				c.card++
			}
			i = end
		case p.email && s[i] == '@':
			start, end := emailAround(s, kept, i)
			if start < i {
				put(start, end)
				c.email++
				i = end
			} else {
				i++
			}
		default:
			i++
		}
	}
	if kept == 0 && out.Len() == 0 {
		return s
	}
	out.WriteString(s[kept:])
	return out.String()
}

// cardAt looks for a card's number that begins at i: digits in groups, with one space or hyphen between. It gives the end of
// the number, or of the first group where there is none.
func cardAt(s string, i int) (int, bool) {
	var digits [maxCardDigits]byte
	n, end, firstGroup := 0, 0, 0
	for at := i; at < len(s); {
		for at < len(s) && isDigit(s[at]) {
			if n == maxCardDigits {
				return groupEnd(s, i, firstGroup, end)
			}
			digits[n] = s[at] - '0'
			n, at = n+1, at+1
		}
		if firstGroup == 0 {
			firstGroup = at
		}
		if n >= minCardDigits && (at == len(s) || !isWord(s[at])) && isCard(digits[:n]) {
			end = at
		}
		if at+1 >= len(s) || s[at] != ' ' && s[at] != '-' || !isDigit(s[at+1]) {
			break
		}
		at++
	}
	return groupEnd(s, i, firstGroup, end)
}

// groupEnd is the end of what was found, or else of the group of digits that i begins.
func groupEnd(s string, i, firstGroup, end int) (int, bool) {
	if end > 0 {
		return end, true
	}
	if firstGroup > 0 {
		return firstGroup, false
	}
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i, false
}

// isCard says whether digits are the number of a payment card: those begin with 2 to 6, which leaves times in milliseconds
// out, and end with a check digit (Luhn's, ISO/IEC 7812-1, annex B).
func isCard(digits []byte) bool {
	if digits[0] < 2 || digits[0] > 6 {
		return false
	}
	sum := 0
	for i, d := range digits {
		v := int(d)
		if (len(digits)-i)%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}

// emailAround is the e-mail address around the @ at i, which does not begin before from. start is i where there is none.
func emailAround(s string, from, i int) (start, end int) {
	start = i
	for start > from && isLocal(s[start-1]) {
		start--
	}
	for start < i && s[start] == '.' {
		start++
	}
	end = i + 1
	dot := -1
	for end < len(s) && isDomain(s[end]) {
		if s[end] == '.' {
			dot = end
		}
		end++
	}
	for end > i+1 && (s[end-1] == '.' || s[end-1] == '-') {
		end--
		if dot == end {
			dot = strings.LastIndexByte(s[i:end], '.')
			if dot >= 0 {
				dot += i
			}
		}
	}
	if start == i || dot <= i+1 || end-dot <= 2 {
		return i, i + 1
	}
	return start, end
}

// isLocal says whether c may stand before the @: an atom of RFC 5322, section 3.2.3, a dot, or a byte of UTF-8 (RFC 6531). The
// slash is left out: in paths it ends what is before.
func isLocal(c byte) bool {
	return isWord(c) || c == '.' || strings.IndexByte("!#$%&'*+-=?^`{|}~", c) >= 0
}

func isDomain(c byte) bool { return isWord(c) && c != '_' || c == '.' || c == '-' }

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) || c == '_' || c >= 0x80
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
