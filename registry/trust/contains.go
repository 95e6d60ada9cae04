package trust

import (
	"bytes"
	"encoding/json"
)

// isObjectOrAbsent says whether text is one JSON object, or nothing.
func isObjectOrAbsent(text json.RawMessage) bool {
	if len(text) == 0 || string(text) == "null" {
		return true
	}
	var object map[string]json.RawMessage
	return json.Unmarshal(text, &object) == nil
}

// contains says whether have holds all of want: each member of an object, each element of a list somewhere in the list, and
// any other value as it is written. Nothing is in everything. Both must be JSON of one reading.
func contains(have, want json.RawMessage) bool {
	if len(want) == 0 || string(want) == "null" {
		return true
	}
	h, err := decode(have)
	if err != nil {
		return false
	}
	w, err := decode(want)
	return err == nil && holds(h, w)
}

func decode(text json.RawMessage) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}

func holds(have, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return false
		}
		for name, value := range w {
			got, there := h[name]
			if !there || !holds(got, value) {
				return false
			}
		}
		return true
	case []any:
		h, ok := have.([]any)
		if !ok {
			return false
		}
		for _, value := range w {
			found := false
			for _, got := range h {
				if found = holds(got, value); found {
					break
				}
			}
			if !found {
				return false
			}
		}
		return true
	default:
		return have == want
	}
}
