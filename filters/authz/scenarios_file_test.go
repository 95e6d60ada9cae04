package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/waft-project/waft/filters/authz/internal/jwt"
	"github.com/waft-project/waft/filters/authz/internal/testtoken"
)

var update = flag.Bool("update", false, "write the scenario files anew from testdata/scenarios")

// The dates of the scenarios' tokens, which are not made when they run: 2100-01-01 and 2020-01-01.
const (
	farFuture = 4102444800
	longPast  = 1577836800
)

// TestScenarioFiles keeps scenarios/ equal to what testdata/scenarios says, tokens included.
func TestScenarioFiles(t *testing.T) {
	templates, err := filepath.Glob("testdata/scenarios/*.yaml.tmpl")
	if err != nil || len(templates) == 0 {
		t.Fatalf("no templates: %v", err)
	}
	written := map[string]bool{}
	for _, name := range templates {
		target := filepath.Join("scenarios", strings.TrimSuffix(filepath.Base(name), ".tmpl"))
		written[target] = true
		want := render(t, name)
		if *update {
			if err := os.MkdirAll("scenarios", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(target, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(target)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what %s says (%v): run `go test ./filters/authz -run TestScenarioFiles -update`", target, name, err)
		}
	}
	files, err := filepath.Glob("scenarios/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if !written[name] {
			t.Errorf("%s has no template; scenarios are generated from testdata/scenarios", name)
		}
	}
}

func render(t *testing.T, name string) []byte {
	t.Helper()
	parsed, err := template.New(filepath.Base(name)).Option("missingkey=error").Funcs(scenarioFuncs()).ParseFiles(name)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Generated from %s by `go test ./filters/authz -run TestScenarioFiles -update`. Do not edit.\n", filepath.ToSlash(name))
	fmt.Fprintln(&out, "# The keys are TEST keys, printed in RFC 7515 and RFC 8037: all the world has their private parts.")
	if err := parsed.Execute(&out, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// scenarioFuncs are what templates of scenarios may call. Keys are named by kid; claims are JSON members, to which issuer
// and expiry are added.
func scenarioFuncs() template.FuncMap {
	withExpiry := func(expiry int64, members string) string {
		return fmt.Sprintf(`{"iss":%q,"exp":%d,%s}`, issuer, expiry, members)
	}
	claims := func(members string) string { return withExpiry(farFuture, members) }
	token := func(kid, members string) string { return testtoken.ByKID(kid).Token(claims(members)) }
	lastDot := func(token string) int { return strings.LastIndexByte(token, '.') + 1 }
	return template.FuncMap{
		"kids": func() (kids []string) {
			for _, k := range testtoken.All() {
				kids = append(kids, k.KID)
			}
			return kids
		},
		"algorithm": func(kid string) string { return testtoken.ByKID(kid).Algorithm },
		"jwks": func(kids ...string) string {
			var keys []testtoken.Key
			for _, kid := range kids {
				keys = append(keys, testtoken.ByKID(kid))
			}
			return testtoken.JWKS(keys...)
		},
		"jwk":     func(kid string) string { return "{" + testtoken.ByKID(kid).Public + "}" },
		"claims":  claims,
		"token":   token,
		"expired": func(kid, members string) string { return testtoken.ByKID(kid).Token(withExpiry(longPast, members)) },
		"signed": func(kid, header, claims string) string {
			return testtoken.ByKID(kid).TokenWithHeader(header, claims)
		},
		"unsigned": func(header, claims string) string {
			return testtoken.Encode(header) + "." + testtoken.Encode(claims) + "."
		},
		// confused signs with HS256, the secret being the RSA key's modulus.
		"confused": func(header, claims string) string {
			_, n, _ := strings.Cut(testtoken.RSA().Public, `"n":"`)
			n, _, _ = strings.Cut(n, `"`)
			return testtoken.Secret("", testtoken.Decode(n)).TokenWithHeader(header, claims)
		},
		// tampered changes the first character of the signature.
		"tampered": func(token string) string {
			at, other := lastDot(token), "A"
			if token[at] == 'A' {
				other = "B"
			}
			return token[:at] + other + token[at+1:]
		},
		// promoted puts other claims under the signature.
		"promoted": func(kid, signed, shown string) string {
			parts := strings.Split(token(kid, signed), ".")
			return parts[0] + "." + testtoken.Encode(claims(shown)) + "." + parts[2]
		},
		"zeroed": func(token string) string {
			return token[:lastDot(token)] + testtoken.Encode(strings.Repeat("\x00", 64))
		},
		"half": func(token string) string { return token[:len(token)/2] },
		// odd is the base64url of so many bytes whose first and last bit are set: as good as random for a refused key.
		"odd": func(size int) string { return testtoken.Encode(strings.Repeat("\x81", size)) },
		"refused": func(reason string) map[string]string {
			return map[string]string{"reason": reason, "description": jwt.Reason(reason).Description()}
		},
		"list":   func(items ...string) []string { return items },
		"join":   func(parts ...string) string { return strings.Join(parts, "") },
		"repeat": func(s string, n int) string { return strings.Repeat(s, n) },
	}
}
