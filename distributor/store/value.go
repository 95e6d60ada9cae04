package store

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"

	"github.com/waft-project/waft/distributor/model"
)

// Limits of values, in bytes.
const (
	// compressAbove is from where a value is compressed: rollouts of many nodes repeat a few hashes many times.
	compressAbove = 16 << 10
	// maxStored is how large a value may be in etcd, whose own limit for a request is 1.5 MiB.
	maxStored = 1 << 20
	// maxValue is how large a value may be when it is unpacked.
	maxValue = 64 << 20
)

// encode writes a value as JSON, compressed when it is large. object names it in the error when it is too large.
func encode(object string, v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("%s: %w", object, err)
	}
	if len(text) <= compressAbove {
		return string(text), nil
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(text); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	if packed.Len() > maxStored || len(text) > maxValue {
		return "", model.Invalidf(object, "", "make it smaller: fewer nodes, or less data in configurations",
			"is %d bytes, %d compressed, and the store takes %d", len(text), packed.Len(), maxStored)
	}
	return packed.String(), nil
}

// decode reads what encode wrote.
func decode(key string, value []byte, v any) error {
	if bytes.HasPrefix(value, []byte{0x1f, 0x8b}) {
		r, err := gzip.NewReader(bytes.NewReader(value))
		if err != nil {
			return fmt.Errorf("the value of %s is damaged: %w", key, err)
		}
		if value, err = io.ReadAll(io.LimitReader(r, maxValue+1)); err != nil {
			return fmt.Errorf("the value of %s is damaged: %w", key, err)
		}
		if len(value) > maxValue {
			return fmt.Errorf("the value of %s is more than %d bytes when unpacked", key, maxValue)
		}
	}
	if err := json.Unmarshal(value, v); err != nil {
		return fmt.Errorf("the value of %s is damaged: %w", key, err)
	}
	return nil
}
