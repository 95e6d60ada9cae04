package signing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxJSONDepth is how deeply objects and arrays of a payload may be nested.
const maxJSONDepth = 64

// oneReading refuses JSON that two readers would understand differently: a member twice, by names that differ in case only
// (encoding/json takes either), or something behind the value.
func oneReading(data []byte) error {
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
			folded := strings.ToLower(name)
			if stack[top].names[folded] {
				return fmt.Errorf("the member %s stands there twice", cut(name))
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
		if len(stack) > maxJSONDepth {
			return fmt.Errorf("more than %d levels", maxJSONDepth)
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
