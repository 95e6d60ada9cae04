package jwt

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Object is a JSON object as parseObject gives it: string, json.Number, bool, nil, []any and Object as values.
type Object = map[string]any

// parseObject reads one JSON object and nothing after it. Duplicate members are refused at every depth: RFC 7515,
// section 4 asks for it in headers, RFC 7519, section 4 in claims, and two readers that pick different ones are an attack.
//
// encoding/json has no such option outside of json.Decoder's tokens; the Decoder reads from an io.Reader, and with that
// the linker keeps os.File.Read and its import fd_read. So encoding/json checks the syntax, and what is known to be well
// formed is taken apart here.
func parseObject(text []byte) (Object, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not UTF-8")
	}
	if !json.Valid(text) {
		return nil, errors.New("not JSON")
	}
	r := reader{text: text}
	if r.next() != '{' {
		return nil, errors.New("not a JSON object")
	}
	return r.object(1)
}

// reader takes well-formed JSON apart.
type reader struct {
	text []byte
	at   int
}

// next is the first byte that is no white space, which stays unread.
func (r *reader) next() byte {
	for {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return c
		}
	}
}

func (r *reader) value(depth int) (any, error) {
	switch r.next() {
	case '{':
		return r.object(depth + 1)
	case '[':
		return r.list(depth + 1)
	case '"':
		return r.string()
	}
	start := r.at
	for r.at < len(r.text) && !endsScalar(r.text[r.at]) {
		r.at++
	}
	switch scalar := string(r.text[start:r.at]); scalar {
	case "true":
		return true, nil
	case "false":
		return false, nil
	case "null":
		return nil, nil
	default:
		return json.Number(scalar), nil
	}
}

func endsScalar(c byte) bool {
	switch c {
	case ',', ']', '}', ' ', '\t', '\r', '\n':
		return true
	}
	return false
}

func (r *reader) object(depth int) (Object, error) {
	if depth > maxJSONDepth {
		return nil, errTooDeep
	}
	object := Object{}
	r.at++ // {
	for r.next() != '}' {
		if r.text[r.at] == ',' {
			r.at++
			r.next()
		}
		name, err := r.string()
		if err != nil {
			return nil, err
		}
		if _, twice := object[name]; twice {
			return nil, errors.New("duplicate member " + strconv.Quote(name))
		}
		r.next()
		r.at++ // :
		if object[name], err = r.value(depth); err != nil {
			return nil, err
		}
	}
	r.at++
	return object, nil
}

func (r *reader) list(depth int) ([]any, error) {
	if depth > maxJSONDepth {
		return nil, errTooDeep
	}
	list := []any{}
	r.at++ // [
	for r.next() != ']' {
		if r.text[r.at] == ',' {
			r.at++
		}
		value, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	r.at++
	return list, nil
}

func (r *reader) string() (string, error) {
	start := r.at
	for r.at++; r.text[r.at] != '"'; r.at++ {
		if r.text[r.at] == '\\' {
			r.at++
		}
	}
	r.at++
	var s string
	err := json.Unmarshal(r.text[start:r.at], &s)
	return s, err
}

var errTooDeep = fmt.Errorf("not taken: nested deeper than %d", maxJSONDepth)
