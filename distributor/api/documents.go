package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/model"
)

const (
	// MaxFileBytes bounds a file of documents.
	MaxFileBytes = 3 << 20
	// MaxDocuments is how many documents a file may hold.
	MaxDocuments = model.MaxResources
)

// DecodeDocuments reads the YAML documents of a file, or one of JSON, each as DecodeDocument does; documents that hold nothing are passed over. Errors say which document, the
// first is 1. Limits: MaxFileBytes, MaxDocuments, and those of each document, but for its size.
func DecodeDocuments(file []byte) ([]proto.Message, error) {
	if len(file) > MaxFileBytes {
		return nil, model.Invalidf("", "", "split it", "the file has %d bytes; the limit is %d", len(file), MaxFileBytes)
	}
	if json.Valid(file) {
		one, err := decodeOne(file)
		if err != nil {
			return nil, err
		}
		return []proto.Message{one}, nil
	}
	d := yaml.NewDecoder(bytes.NewReader(file))
	var out []proto.Message
	for n := 1; ; n++ {
		var doc yaml.Node
		switch err := d.Decode(&doc); {
		case errors.Is(err, io.EOF):
			if len(out) == 0 {
				return nil, model.Invalidf("", "", "write apiVersion, kind, metadata and spec", "the file holds no document")
			}
			return out, nil
		case err != nil:
			return nil, inDocument(n, model.Invalidf("", "", "correct the syntax", "not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: ")))
		}
		if len(doc.Content) == 1 && doc.Content[0].ShortTag() == "!!null" {
			continue
		}
		if len(out) == MaxDocuments {
			return nil, model.Invalidf("", "", "split the file", "it holds more than %d documents", MaxDocuments)
		}
		if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
			return nil, inDocument(n, model.Invalidf("", "", "write apiVersion, kind, metadata and spec", "the document is not a mapping"))
		}
		message, err := decodeRoot(doc.Content[0])
		if err != nil {
			return nil, inDocument(n, err)
		}
		out = append(out, message)
	}
}

func decodeOne(document []byte) (proto.Message, error) {
	root, err := parse(document)
	if err != nil {
		return nil, err
	}
	return decodeRoot(root)
}

// inDocument says which document of a file an error is about. Lines are those of the file already.
func inDocument(n int, err error) error {
	told, ok := errors.AsType[*model.Error](err)
	if !ok {
		return fmt.Errorf("document %d: %w", n, err)
	}
	said := *told
	said.Message = fmt.Sprintf("document %d: %s", n, told.Message)
	return &said
}
