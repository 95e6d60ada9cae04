package api

import (
	"bytes"
	"encoding/json"
	"testing"
)

// compactJSON takes out the white space that protojson puts in at random.
func compactJSON(t *testing.T, raw []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
