package model

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxJSONDepth is how deep arrays and objects may nest in what Canonical takes.
const MaxJSONDepth = 128

// maxExactInteger is 2^53: up to it a float64 holds every integer (RFC 8785 section 3.2.2.3, RFC 7493 section 2.2).
const maxExactInteger = 1 << 53

// JSONError says why a JSON text has no canonical form, and where.
type JSONError struct {
	// Path of the offending value: rules[0].path; empty for the whole text.
	Path string
	// Message says what is wrong with it.
	Message string
}

// Error is the path, where there is one, and the message.
func (e *JSONError) Error() string {
	if e.Path == "" {
		return e.Message
	}
	return e.Path + ": " + e.Message
}

// Canonical is the RFC 8785 form of a JSON text: members sorted by UTF-16 code units, no white space, numbers as
// ECMAScript prints them. Texts that two readers could understand differently are refused with a *JSONError: duplicate
// member names, integers that would lose digits (some beyond 2^53), numbers that a float64 cannot hold, strings that are not Unicode, nesting deeper
// than MaxJSONDepth. The result of Canonical is its own canonical form.
func Canonical(data []byte) ([]byte, error) {
	if !utf8.Valid(data) {
		return nil, &JSONError{Message: "not valid UTF-8"}
	}
	// The syntax is checked first, so that the walk below may rely on it.
	if err := checkSyntax(data); err != nil {
		return nil, err
	}
	c := canonicalizer{in: data}
	return c.value(make([]byte, 0, len(data)))
}

// CanonicalOf is the canonical form of what encoding/json makes of v.
func CanonicalOf(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("canonical JSON of %T: %w", v, err)
	}
	return Canonical(data)
}

// Digest is sha256:HEX of data.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	var text [len(digestPrefix) + 2*sha256.Size]byte
	hex.Encode(text[copy(text[:], digestPrefix):], sum[:])
	return string(text[:])
}

// HashOf is Digest of CanonicalOf.
func HashOf(v any) (string, error) {
	data, err := CanonicalOf(v)
	if err != nil {
		return "", err
	}
	return Digest(data), nil
}

func checkSyntax(data []byte) error {
	if json.Valid(data) { // which makes no copy; why it is not, only the copy says
		return nil
	}
	var raw json.RawMessage
	err := json.Unmarshal(data, &raw)
	if err == nil {
		return nil
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return &JSONError{Message: fmt.Sprintf("not JSON: at byte %d: %s", syntax.Offset, syntax)}
	}
	return &JSONError{Message: "not JSON: " + err.Error()}
}

// canonicalizer walks a text whose syntax is known to be right.
type canonicalizer struct {
	in   []byte
	pos  int
	path []string
}

func (c *canonicalizer) fail(format string, args ...any) error {
	return &JSONError{Path: strings.TrimPrefix(strings.Join(c.path, ""), "."), Message: fmt.Sprintf(format, args...)}
}

func (c *canonicalizer) peek() byte {
	for {
		switch b := c.in[c.pos]; b {
		case ' ', '\t', '\n', '\r':
			c.pos++
		default:
			return b
		}
	}
}

func (c *canonicalizer) value(out []byte) ([]byte, error) {
	switch c.peek() {
	case '{':
		return c.object(out)
	case '[':
		return c.array(out)
	case '"':
		s, err := c.text()
		if err != nil {
			return nil, err
		}
		return appendString(out, s), nil
	case 't', 'n':
		c.pos += 4
		return append(out, c.in[c.pos-4:c.pos]...), nil
	case 'f':
		c.pos += 5
		return append(out, c.in[c.pos-5:c.pos]...), nil
	default:
		return c.number(out)
	}
}

func (c *canonicalizer) array(out []byte) ([]byte, error) {
	if len(c.path) >= MaxJSONDepth {
		return nil, c.fail("nested deeper than %d", MaxJSONDepth)
	}
	c.pos++
	out = append(out, '[')
	for i := 0; c.peek() != ']'; i++ {
		if i > 0 {
			c.pos++ // the comma
			out = append(out, ',')
		}
		c.path = append(c.path, "["+strconv.Itoa(i)+"]")
		var err error
		if out, err = c.value(out); err != nil {
			return nil, err
		}
		c.path = c.path[:len(c.path)-1]
	}
	c.pos++
	return append(out, ']'), nil
}

type member struct {
	name  string
	value []byte
}

func (c *canonicalizer) object(out []byte) ([]byte, error) {
	if len(c.path) >= MaxJSONDepth {
		return nil, c.fail("nested deeper than %d", MaxJSONDepth)
	}
	c.pos++
	var members []member
	for c.peek() != '}' {
		if len(members) > 0 {
			c.pos++ // the comma
			c.peek()
		}
		m, err := c.member()
		if err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	c.pos++
	slices.SortFunc(members, func(a, b member) int { return compareUTF16(a.name, b.name) })
	out = append(out, '{')
	for i, m := range members {
		if i > 0 {
			if m.name == members[i-1].name {
				c.path = append(c.path, pathOfMember(m.name))
				return nil, c.fail("given twice")
			}
			out = append(out, ',')
		}
		out = append(appendString(out, m.name), ':')
		out = append(out, m.value...)
	}
	return append(out, '}'), nil
}

func (c *canonicalizer) member() (member, error) {
	name, err := c.text()
	if err != nil {
		return member{}, err
	}
	c.peek()
	c.pos++ // the colon
	c.path = append(c.path, pathOfMember(name))
	value, err := c.value(nil)
	if err != nil {
		return member{}, err
	}
	c.path = c.path[:len(c.path)-1]
	return member{name: name, value: value}, nil
}

// text reads a string and undoes its escapes.
func (c *canonicalizer) text() (string, error) {
	start := c.pos
	escaped := false
	for c.pos++; c.in[c.pos] != '"'; c.pos++ {
		if c.in[c.pos] == '\\' {
			escaped = true
			c.pos++
		}
	}
	c.pos++
	raw := c.in[start+1 : c.pos-1]
	if !escaped {
		return string(raw), nil
	}
	return c.unescape(raw)
}

func (c *canonicalizer) unescape(raw []byte) (string, error) {
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			b.WriteByte(raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'u':
			r, used := unescapeRune(raw[i-1:])
			if used == 0 {
				return "", c.fail("a string has half of a surrogate pair, \\u%s", raw[i+1:i+5])
			}
			b.WriteRune(r)
			i += used - 2
		default: // ", \ and /
			b.WriteByte(raw[i])
		}
	}
	return b.String(), nil
}

// unescapeRune reads \uXXXX, or two of them that make one character, and says how many bytes that took; 0: half a pair.
func unescapeRune(raw []byte) (rune, int) {
	first := hex4(raw[2:6])
	if !utf16.IsSurrogate(first) {
		return first, 6
	}
	if len(raw) < 12 || raw[6] != '\\' || raw[7] != 'u' {
		return 0, 0
	}
	r := utf16.DecodeRune(first, hex4(raw[8:12]))
	if r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

func hex4(digits []byte) rune {
	n, err := strconv.ParseUint(string(digits), 16, 16)
	if err != nil {
		return utf8.RuneError // cannot be: the syntax was checked
	}
	return rune(n)
}

func (c *canonicalizer) number(out []byte) ([]byte, error) {
	start := c.pos
	for c.pos < len(c.in) && bytes.IndexByte([]byte("+-.0123456789eE"), c.in[c.pos]) >= 0 {
		c.pos++
	}
	text := string(c.in[start:c.pos])
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, c.fail("the number %s does not fit a 64-bit float", shorten(text))
	}
	from := len(out)
	out = appendNumber(out, f)
	// Whoever writes an integer means each digit of it. Beyond 2^53 some have a form that says the same, as what 1e17 becomes.
	if !strings.ContainsAny(text, ".eE") && math.Abs(f) >= maxExactInteger && text != string(out[from:]) {
		return nil, c.fail("the integer %s is beyond 2^53 and would lose digits; give it as a string", shorten(text))
	}
	return out, nil
}

// appendNumber prints a number as ECMAScript does (RFC 8785 section 3.2.2.3). It must be finite.
func appendNumber(out []byte, f float64) []byte {
	if f == 0 {
		return append(out, '0') // -0 too
	}
	abs := math.Abs(f)
	if abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(out, f, 'f', -1, 64)
	}
	out = strconv.AppendFloat(out, f, 'e', -1, 64)
	// Go pads the exponent to two digits, ECMAScript does not.
	if n := len(out); out[n-2] == '0' && (out[n-3] == '-' || out[n-3] == '+') {
		out[n-2] = out[n-1]
		out = out[:n-1]
	}
	return out
}

// appendString prints a string with the escapes of RFC 8785 section 3.2.2.2 and no others. What stands between two escapes is copied at once: byte by byte, the
// memory of a long text would be made several times over.
func appendString(out []byte, s string) []byte {
	const digits = "0123456789abcdef"
	out = append(out, '"')
	copied := 0
	for i := range len(s) {
		b := s[i]
		if b >= 0x20 && b != '"' && b != '\\' {
			continue
		}
		out = append(out, s[copied:i]...)
		copied = i + 1
		switch b {
		case '"', '\\':
			out = append(out, '\\', b)
		case '\b':
			out = append(out, `\b`...)
		case '\f':
			out = append(out, `\f`...)
		case '\n':
			out = append(out, `\n`...)
		case '\r':
			out = append(out, `\r`...)
		case '\t':
			out = append(out, `\t`...)
		default:
			out = append(out, `\u00`...)
			out = append(out, digits[b>>4], digits[b&0xf])
		}
	}
	return append(append(out, s[copied:]...), '"')
}

// compareUTF16 orders strings by their UTF-16 code units (RFC 8785 section 3.2.3). It differs from the order of the
// bytes only where a character outside the basic plane meets one of U+E000 to U+FFFF.
func compareUTF16(a, b string) int {
	for a != "" && b != "" {
		ra, na := utf8.DecodeRuneInString(a)
		rb, nb := utf8.DecodeRuneInString(b)
		if ra != rb {
			ua, ub := utf16.AppendRune(nil, ra), utf16.AppendRune(nil, rb)
			return slices.Compare(ua, ub)
		}
		a, b = a[na:], b[nb:]
	}
	return len(a) - len(b)
}

// pathOfMember is .name, or ["name"] for a name that would not be read back.
func pathOfMember(name string) string {
	for i := range len(name) {
		b := name[i]
		letter := b == '_' || b == '-' || b == '$' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
		if !letter {
			return "[" + strconv.Quote(shorten(name)) + "]"
		}
	}
	if name == "" {
		return `[""]`
	}
	return "." + shorten(name)
}

// shorten keeps what a stranger sent from filling a log line.
func shorten(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
