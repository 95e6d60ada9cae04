// Package strictjson refuses JSON that two readers would understand differently, where a decision rests on it.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxDepth is how deeply objects and arrays may be nested.
const MaxDepth = 64

// Check refuses JSON that has more than one reading: a member twice, by names that differ in case only
// (encoding/json takes either), or something behind the value.
func Check(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	type level struct {
		names map[string]bool // of an object; nil in an array
		key   bool            // a name comes next
	}
	var stack []level
	for {
		tok, err := dec.Token()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		top := len(stack) - 1
		if name, ok := tok.(string); ok && top >= 0 && stack[top].key {
			folded := strings.ToLower(strings.ToUpper(name)) // as encoding/json folds: to it U+017F is an s, and U+212A a k
			if stack[top].names[folded] {
				return fmt.Errorf("the member %s stands there twice", quote(name))
			}
			stack[top].names[folded] = true
			stack[top].key = false
			continue
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, level{names: map[string]bool{}, key: true})
		case json.Delim('['):
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:top]
		}
		if len(stack) > MaxDepth {
			return fmt.Errorf("more than %d levels", MaxDepth)
		}
		if top = len(stack) - 1; top >= 0 && stack[top].names != nil && tok != json.Delim('{') {
			stack[top].key = true
		}
		if len(stack) == 0 {
			break
		}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the value")
	}
	return nil
}

func quote(s string) string {
	const shown = 120
	if len(s) > shown {
		s = s[:shown] + "…"
	}
	return fmt.Sprintf("%q", s)
}
