package agent

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// unescaped is a text without what escapes it, however often it was: as JSON, Go, protobuf's text and URLs write it, and those of each other. A text and what any of them makes of
// it have the same. It is for comparing, and not for reading: backslashes are gone, what stands for a control character is the letter that it is written as (n for a line end), and
// + is a space. A text in which nothing is escaped is given as it is.
//
// A backslash before a text belongs to what it escapes, so that of "\" and "n" is that of a line end, and a text that begins with x41 is not found after a backslash: who looks for a
// text has to look for it as it is, too.
type unescaped struct {
	text string
	// from and to are where each byte was: from a byte of the text that was given, to before another one. Nil: where it is.
	from, to []int32
}

// special is what may stand for something else.
const special = "\\%+\a\b\f\n\r\t\v"

func unescape(text string) unescaped {
	if !strings.ContainsAny(text, special) {
		return unescaped{text: text}
	}
	u := unescaper{out: make([]byte, 0, len(text)), from: make([]int32, 0, len(text)), to: make([]int32, 0, len(text))}
	for at := 0; at < len(text); {
		at = u.next(text, at)
	}
	return unescaped{text: string(u.out), from: u.from, to: u.to}
}

// span is where bytes i to j were.
func (u unescaped) span(i, j int) (from, to int) {
	if u.from == nil || i == j {
		return i, j
	}
	return int(u.from[i]), int(u.to[j-1])
}

type unescaper struct {
	out      []byte
	from, to []int32
	// escaping: backslashes were read since, from begun on.
	escaping bool
	begun    int
}

// next reads one character, escaped or not, and returns where it ends.
func (u *unescaper) next(text string, at int) int {
	c, end := text[at], at+1
	if c == '%' {
		c, end = percent(text, at)
	}
	if c == '\\' {
		if !u.escaping {
			u.escaping, u.begun = true, at
		}
		return end
	}
	begin := at
	if u.escaping {
		begin, u.escaping = u.begun, false
		if decoded, stop := numbered(text, c, end); stop > end {
			if string(decoded) == `\` {
				u.escaping = true
				return stop
			}
			for _, b := range decoded {
				u.put(b, begin, stop)
			}
			return stop
		}
	}
	u.put(c, begin, end)
	return end
}

func (u *unescaper) put(b byte, from, to int) {
	if i := strings.IndexByte("\a\b\f\n\r\t\v+", b); i >= 0 {
		b = "abfnrtv "[i]
	}
	u.out, u.from, u.to = append(u.out, b), append(u.from, int32(from)), append(u.to, int32(to))
}

// percent is what a % and the digits after it stand for, those of an escaped % among them.
func percent(text string, at int) (c byte, end int) {
	c, end = '%', at+1
	for c == '%' {
		b, ok := digits(text, end, 2, 16)
		if !ok {
			break
		}
		c, end = byte(b), end+2
	}
	return c, end
}

// numbered is what a letter or digit after a backslash, which ends before end, stands for with the digits after it. It stops at end where that is nothing.
func numbered(text string, c byte, end int) (decoded []byte, stop int) {
	switch c {
	case 'x':
		if b, ok := digits(text, end, 2, 16); ok {
			return []byte{byte(b)}, end + 2
		}
	case '0', '1', '2', '3':
		if b, ok := digits(text, end, 2, 8); ok {
			return []byte{(c-'0')<<6 | byte(b)}, end + 2
		}
	case 'U':
		if r, ok := digits(text, end, 8, 16); ok {
			return utf8.AppendRune(nil, rune(r)), end + 8
		}
	case 'u':
		r, ok := digits(text, end, 4, 16)
		if !ok {
			break
		}
		stop = end + 4
		if utf16.IsSurrogate(rune(r)) {
			// The other half has as many backslashes.
			next := stop
			for next < len(text) && text[next] == '\\' {
				next++
			}
			if next > stop && next < len(text) && text[next] == 'u' {
				if low, ok := digits(text, next+1, 4, 16); ok {
					if whole := utf16.DecodeRune(rune(r), rune(low)); whole != utf8.RuneError {
						return utf8.AppendRune(nil, whole), next + 5
					}
				}
			}
		}
		return utf8.AppendRune(nil, rune(r)), stop
	}
	return nil, end
}

// digits is the number that so many digits of a base make at a place of the text.
func digits(text string, at, count int, base uint32) (n uint32, ok bool) {
	if at+count > len(text) {
		return 0, false
	}
	for _, c := range []byte(text[at : at+count]) {
		var d uint32
		switch {
		case c >= '0' && c <= '9':
			d = uint32(c - '0')
		case c >= 'a' && c <= 'f':
			d = uint32(c-'a') + 10
		case c >= 'A' && c <= 'F':
			d = uint32(c-'A') + 10
		default:
			return 0, false
		}
		if d >= base {
			return 0, false
		}
		n = n*base + d
	}
	return n, true
}
