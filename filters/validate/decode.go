package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of what is read.
const (
	// maxDepth is how deep objects and lists may nest.
	maxDepth = 128
	// maxNumberBytes is the length of the longest number.
	maxNumberBytes = 256
	// maxExponent is the largest exponent of a number, either way. Numbers are compared exactly, so 1e999999999 would take as
	// many digits.
	maxExponent = 400
)

// decode reads one JSON value as the schema library wants it: objects as map[string]any, numbers as json.Number. What servers
// read in different ways is an error: a name that comes twice, bytes that are no UTF-8, anything behind the value.
func decode(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("it is not UTF-8")
	}
	d := decoder{json.NewDecoder(bytes.NewReader(data))}
	d.UseNumber()
	value, err := d.value(0)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.New("it is not JSON: it ends too early")
	}
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it is not JSON: something stands behind the value")
	}
	return value, nil
}

type decoder struct{ *json.Decoder }

func (d *decoder) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("objects and lists nest deeper than %d", maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return d.object(depth)
		}
		return d.list(depth)
	case json.Number:
		return t, checkNumber(string(t))
	}
	return token, nil
}

func (d *decoder) object(depth int) (any, error) {
	out := map[string]any{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string) // the decoder takes nothing else there
		if _, ok := out[name]; ok {
			return nil, errors.New("a field is there twice")
		}
		if out[name], err = d.value(depth + 1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return out, err
}

func (d *decoder) list(depth int) (any, error) {
	out := []any{}
	for d.More() {
		value, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	_, err := d.Token()
	return out, err
}

func checkNumber(text string) error {
	if len(text) > maxNumberBytes {
		return fmt.Errorf("a number has more than %d digits", maxNumberBytes)
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		if n, err := strconv.Atoi(text[i+1:]); err != nil || n < -maxExponent || n > maxExponent {
			return fmt.Errorf("a number has an exponent beyond %d", maxExponent)
		}
	}
	return nil
}
