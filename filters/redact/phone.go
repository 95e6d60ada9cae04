package main

import "strings"

// Bounds of a telephone number, in digits. The most is E.164's; shorter ones are many other things.
const (
	minPhoneDigits = 8
	maxPhoneDigits = 15
)

// nextPhone finds a telephone number in international form: a + and the digits (ITU-T E.164, E.123).
func nextPhone(s string, from int) (start, end int, ok bool) {
	for at := from; ; {
		i := strings.IndexByte(s[at:], '+')
		if i < 0 {
			return 0, 0, false
		}
		at += i
		if freeBefore(s, at) && (at == 0 || s[at-1] != '+') {
			if end, ok := phoneAt(s, at); ok {
				return at, end, true
			}
		}
		at++
	}
}

// phoneAt is the end of the number whose + is at i. Between digits there may be one space, hyphen, dot or slash, and brackets. Of more
// digits than a number has, those go that are in its last whole group.
func phoneAt(s string, i int) (int, bool) {
	if i+1 >= len(s) || s[i+1] < '1' || s[i+1] > '9' {
		return 0, false // no country's code begins with 0
	}
	n, end, at := 0, 0, i+1
	for at < len(s) {
		group := at
		for at < len(s) && isDigit(s[at]) {
			at++
		}
		if n += at - group; n > maxPhoneDigits {
			break
		}
		if n >= minPhoneDigits && freeBehind(s, at) {
			end = at
		}
		next := phoneGap(s, at)
		if next == at {
			break
		}
		at = next
	}
	return end, end > 0
}

// phoneGap is where the next digit is, behind what may stand between two; at where there is none.
func phoneGap(s string, at int) int {
	gap, plain := at, 0
	for gap < len(s) && gap-at < 3 && !isDigit(s[gap]) {
		switch s[gap] {
		case ' ', '-', '.', '/':
			plain++
		case '(', ')':
			plain = 0
		default:
			return at
		}
		if plain > 1 {
			return at
		}
		gap++
	}
	if gap == len(s) || !isDigit(s[gap]) {
		return at
	}
	return gap
}
