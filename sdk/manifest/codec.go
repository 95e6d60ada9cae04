package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Decode reads a manifest from JSON that is not trusted. It takes one document of at most MaxBytes whose fields are those
// of Manifest, spelled exactly, each once, and valid. The result shares no memory with data.
func Decode(data []byte) (Manifest, error) {
	if len(data) > MaxBytes {
		return Manifest{}, invalidf("", "%d bytes, over the limit of %d", len(data), MaxBytes)
	}
	if err := checkJSON("", data); err != nil {
		return Manifest{}, err
	}
	// encoding/json matches field names without regard to case; a manifest must not be readable in two ways.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil || fields == nil {
		return Manifest{}, invalidf("", "not a JSON object")
	}
	for name, value := range fields {
		if !slices.Contains(fieldNames, name) {
			return Manifest{}, invalidf(quote(name), "unknown field; a newer waft may have written it")
		}
		if bytes.Equal(value, []byte("null")) {
			return Manifest{}, invalidf(name, "is null")
		}
	}
	for _, name := range requiredNames {
		if _, ok := fields[name]; !ok {
			return Manifest{}, invalidf(name, "is missing")
		}
	}
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) {
			return Manifest{}, invalidf(te.Field, "want a %s, have a JSON %s", te.Type, te.Value)
		}
		return Manifest{}, invalidf("", "%v", err)
	}
	m.Imports, m.Envoys = slices.Clip(m.Imports), slices.Clip(m.Envoys)
	if m.ConfigSchema != nil {
		var compact bytes.Buffer
		if err := json.Compact(&compact, m.ConfigSchema); err != nil {
			return Manifest{}, invalidf("configSchema", "%v", err)
		}
		m.ConfigSchema = compact.Bytes()
	}
	if err := m.Validate(); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// Encode writes the manifest as indented JSON with a final newline. Equal manifests give equal bytes, on any machine;
// members of the configuration schema keep their order. An invalid manifest is an error.
func (m Manifest) Encode() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if m.Imports == nil {
		m.Imports = []string{}
	}
	if m.Envoys == nil {
		m.Envoys = []string{}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(m); err != nil {
		return nil, invalidf("", "%v", err)
	}
	if buf.Len() > MaxBytes {
		return nil, invalidf("", "%d bytes, over the limit of %d", buf.Len(), MaxBytes)
	}
	return buf.Bytes(), nil
}

// The JSON names of Manifest's fields. A test compares them with the struct's tags.
var (
	requiredNames = []string{"name", "version", "sha256", "size", "abi", "imports", "envoys", "memoryMax"}
	fieldNames    = append([]string{"language", "missing", "configSchema"}, requiredNames...)
)

// checkJSON takes one JSON value, with no key twice in an object and no deeper nesting than MaxDepth. at is the path of
// the value in the manifest.
func checkJSON(at string, data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := checkValue(dec, at, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return invalidf(at, "more than one JSON value")
	}
	return nil
}

func checkValue(dec *json.Decoder, at string, depth int) error {
	if depth > MaxDepth {
		return invalidf("", "nested deeper than %d levels", MaxDepth)
	}
	tok, err := dec.Token()
	if err != nil {
		return invalidf(at, "not JSON: %v", err)
	}
	switch tok {
	case json.Delim('{'):
		seen := map[string]bool{}
		for dec.More() {
			tok, err := dec.Token()
			if err != nil {
				return invalidf(at, "not JSON: %v", err)
			}
			key := tok.(string) // the decoder gives only strings here
			path := strings.TrimPrefix(at+"."+key, ".")
			if seen[key] {
				return invalidf(path, "is there twice")
			}
			seen[key] = true
			if err := checkValue(dec, path, depth+1); err != nil {
				return err
			}
		}
	case json.Delim('['):
		for i := 0; dec.More(); i++ {
			if err := checkValue(dec, fmt.Sprintf("%s[%d]", at, i), depth+1); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	if _, err := dec.Token(); err != nil { // the closing bracket
		return invalidf(at, "not JSON: %v", err)
	}
	return nil
}
