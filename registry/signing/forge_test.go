//go:build interop

package signing_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/waft-project/waft/registry"
)

// forgeBundle changes the digest in a bundle's statement and leaves the signature as it is.
func forgeBundle(t *testing.T, att registry.Attachment, from, to registry.Digest) registry.Attachment {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal(att.Data, &b); err != nil {
		t.Fatal(err)
	}
	envelope := b["dsseEnvelope"].(map[string]any)
	statement, err := base64.StdEncoding.DecodeString(envelope["payload"].(string))
	if err != nil || !strings.Contains(string(statement), from.Hex()) {
		t.Fatalf("%s, %v", statement, err)
	}
	envelope["payload"] = base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(string(statement), from.Hex(), to.Hex())))
	if att.Data, err = json.Marshal(b); err != nil {
		t.Fatal(err)
	}
	return att
}
