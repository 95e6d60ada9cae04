package main

import "strings"

// nextEmail finds an e-mail address.
func nextEmail(s string, from int) (start, end int, ok bool) {
	for at := from; ; {
		i := strings.IndexByte(s[at:], '@')
		if i < 0 {
			return 0, 0, false
		}
		at += i
		if start, end := emailAround(s, from, at); start < at {
			return start, end, true
		}
		at++
	}
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
