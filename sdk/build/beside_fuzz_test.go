package build

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
)

// FuzzSymbols reads whatever may stand beside a module as its symbols. What is taken begins as such a file does, and is written as it was read.
func FuzzSymbols(f *testing.F) {
	whole := Symbols{SHA256: strings.Repeat("ab", 32), Functions: map[uint32]Symbol{0: {Name: "proxy_log"}, 7: {Name: "main.(*visit).OnRequestHeaders", Place: "filter.go:12"}}}.encode()
	f.Add(whole)
	f.Add([]byte(strings.Repeat("x", 64) + "\n1\ta\tb\n"))
	f.Add(append(whole, "4294967296\ta\tb\n"...))
	f.Add(append(whole, "1\t"+strings.Repeat("a", 1<<17)+"\t\n"...))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseSymbols("authz.symbols", bytes.NewReader(text))
		if err != nil {
			if !errors.Is(err, ErrSymbols) || !strings.Contains(err.Error(), "authz.symbols") || s.Functions != nil {
				t.Errorf("%q gives %v, and the error %v", text, s, err)
			}
			return
		}
		if !bytes.HasPrefix(text, []byte(symbolsHeader)) {
			t.Errorf("%q is taken", text)
		}
		if bytes.ContainsRune(text, '\r') {
			return // one that ends a line is left out
		}
		if again, err := parseSymbols("authz.symbols", bytes.NewReader(s.encode())); err != nil || again.SHA256 != s.SHA256 || !maps.Equal(again.Functions, s.Functions) {
			t.Errorf("%q is read as %v, and written as %v (%v)", text, s, again, err)
		}
	})
}

// FuzzOrigin reads whatever may be attached to a module as what it was made of. Errors are ErrManifest, and what is taken is about something.
func FuzzOrigin(f *testing.F) {
	digest := strings.Repeat("ab", 32)
	f.Add([]byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":{"name":"authz","hashes":[{"alg":"SHA-256","content":"` + digest + `"}]}},"components":[{"name":"std","version":"1.26.8"},{"name":"github.com/waft-project/waft"}]}`))
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"authz.wasm","digest":{"sha256":"` + digest + `"}}],"predicateType":"` + ProvenanceType + `",` +
		`"predicate":{"buildDefinition":{"buildType":"https://waft.dev/build/v1","externalParameters":{"package":"example.com/authz","version":"1.2.0","tags":["a"]}},"runDetails":{"builder":{"id":"https://ci.example"}}}}`))
	f.Add([]byte(`{"bomFormat":"CycloneDX","components":[null,{}],"metadata":null}`))
	f.Add([]byte(`{"predicateType":"` + ProvenanceType + `","subject":[{}],"predicate":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		told := func(err error) {
			if said, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, ErrManifest) || said.Next == "" {
				t.Errorf("%q: %T: %v", data, err, err)
			}
		}
		if s, err := DecodeSBOM(data); err != nil {
			told(err)
		} else if !json.Valid(data) || s.Modules == nil || len(s.Modules) > len(data)/len(`{}`) {
			t.Errorf("%q is read as %+v", data, s)
		}
		if p, err := DecodeProvenance(data); err != nil {
			told(err)
		} else if !json.Valid(data) || p.Predicate != nil && !json.Valid(p.Predicate) {
			t.Errorf("%q is read as %+v", data, p)
		}
	})
}
