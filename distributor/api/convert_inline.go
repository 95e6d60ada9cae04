package api

import (
	"encoding/base64"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// inlineDraft is a module as bytes; nil for nil.
func inlineDraft(object, at string, m *waftv1.InlineModule) (*service.InlineDraft, error) {
	if m == nil {
		return nil, nil
	}
	d := &service.InlineDraft{Wasm: m.GetWasm()}
	if m.GetManifest() == nil {
		return d, nil
	}
	manifest, err := protojson.Marshal(m.GetManifest())
	if err == nil {
		// protojson's spaces differ from build to build.
		d.Manifest, err = model.Canonical(manifest)
	}
	if err != nil {
		return nil, model.Invalidf(object, at+".manifest", "give the manifest that waft build wrote", "%v", err)
	}
	return d, nil
}

// bytes is a text in base64, as protobuf's JSON has bytes (RFC 4648, either alphabet). What YAML folds into lines is joined.
func (w *walker) bytes(n *yaml.Node, path string, depth int) (string, error) {
	text, err := w.text(n, path, depth)
	if err != nil {
		return "", err
	}
	text = withoutSpace(text)
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if content, err := encoding.DecodeString(text); err == nil {
			return base64.StdEncoding.EncodeToString(content), nil
		}
	}
	return "", invalid(n, path, "encode the bytes, such as with base64 -w0 FILE", "want bytes in base64")
}

func withoutSpace(text string) string {
	out := make([]byte, 0, len(text))
	for i := range len(text) {
		if c := text[i]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			out = append(out, c)
		}
	}
	return string(out)
}
