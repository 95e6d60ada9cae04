package agent

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

func TestRedact(t *testing.T) {
	var r redactor
	if got := r.redact("nothing is known"); got != "nothing is known" {
		t.Errorf("%q", got)
	}
	pem := "-----BEGIN KEY-----\nMIGHAgEAMBMGByqGSM49\nAgEGCCqGSM49AwEHBG0w\n-----END KEY-----"
	odd := "sp\u00e4t \"quoted\" <b> \\ &\t"
	long := strings.Repeat("0123456789abcdef", 512)
	r.learn(model.SecretRef{Env: "PEM"}, pem)
	r.learn(model.SecretRef{Env: "ODD"}, odd)
	r.learn(model.SecretRef{Env: "LONG"}, long)
	r.learn(model.SecretRef{Env: "SHORT"}, "x7")
	asJSON, _ := json.Marshal(odd)
	for name, test := range map[string]struct{ text, want string }{
		"plain":           {"a " + odd + " b", "a [secret env:ODD] b"},
		"twice":           {"x7x7", "[secret env:SHORT][secret env:SHORT]"},
		"JSON":            {string(asJSON), `"[secret env:ODD]"`},
		"Go":              {fmt.Sprintf("%q", odd), `"[secret env:ODD]"`},
		"ASCII":           {fmt.Sprintf("%+q", odd), `"[secret env:ODD]"`},
		"protobuf's text": {`value: "sp\303\244t \"quoted\" <b> \\ &\t"`, `value: "[secret env:ODD]"`},
		"a URL":           {"?q=" + url.QueryEscape(odd), "?q=[secret env:ODD]"},
		"base64":          {base64.StdEncoding.EncodeToString([]byte(odd)), "[secret env:ODD]"},
		"a line of it":    {"got AgEGCCqGSM49AwEHBG0w", "got [secret env:PEM]"},
		"cut off":         {"config: " + long[:100], "config: [secret env:LONG]"},
		"cut off, and on": {long[:100] + "; more", "[secret env:LONG]; more"},
		"nothing of it":   {"012345678 is a number", "012345678 is a number"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := r.redact(test.text); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestRedactedLog(t *testing.T) {
	var r redactor
	r.learn(model.SecretRef{Env: "A"}, "hunter22")
	var out bytes.Buffer
	log := slog.New(r.handler(slog.NewTextHandler(&out, nil)))
	log.With("with", "hunter22").WithGroup("group").Error("said hunter22", "text", "hunter22", "error", fmt.Errorf("no: %w", errors.New("hunter22")),
		slog.Group("in", "side", "hunter22"), "list", []string{"hunter22"}, "number", 22)
	if text := out.String(); strings.Contains(text, "hunter22") || strings.Count(text, "[secret env:A]") != 6 || !strings.Contains(text, "group.number=22") {
		t.Errorf("logged %s", text)
	}
}

// What was learned long ago goes first.
func TestRedactorForgets(t *testing.T) {
	var r redactor
	for i := range redactedValues + 1 {
		r.learn(model.SecretRef{Env: "A"}, fmt.Sprintf("value-%04d-of-them", i))
	}
	if got := r.redact("value-0000-of-them value-0001-of-them"); got != "value-0000-of-them [secret env:A]" {
		t.Errorf("%q", got)
	}
}
