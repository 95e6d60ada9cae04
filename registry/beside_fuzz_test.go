package registry

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzTokenLife reads whatever a token service may answer. No token lives for ever, nor for no time.
func FuzzTokenLife(f *testing.F) {
	f.Add([]byte(`{"token":"eyJhbGciOiJFUzI1NiJ9.e30.c2ln","expires_in":300,"issued_at":"2026-11-29T00:00:00Z"}`))
	f.Add([]byte(`{"expires_in":1e300}`))
	f.Add([]byte(`{"expires_in":"5e-324"}`))
	f.Add([]byte(`{"expires_in":-1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		life := readTokenLife(body)
		if now := time.Unix(1764444000, 0); life <= 0 || life > 366*24*time.Hour || (tokenLife{seen: true, life: life}).until(now).Before(now) {
			t.Errorf("%q lives for %s", body, life)
		}
	})
}

// FuzzPins reads whatever may stand in a file of pins, which another program has written. What is read is passed on as it was, and what cannot be read pins nothing.
func FuzzPins(f *testing.F) {
	f.Add([]byte(`{"needed":["` + string(DigestOf([]byte("a"))) + `"],"fetching":[]}`))
	f.Add([]byte(`{"needed":null}{"needed":[]}`))
	f.Add([]byte(`{"a":["../../x"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "1"+pinSuffix)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		pins, err := readPins(path)
		if err != nil {
			return
		}
		written, err := json.Marshal(pins)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, written, 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := readPins(path)
		if err != nil || len(again) != len(pins) {
			t.Fatalf("%q is read as %v, and that as %v (%v)", text, pins, again, err)
		}
		for owner, digests := range pins {
			for i, d := range digests {
				if again[owner][i] != d {
					t.Errorf("%q pins %q, and then %q", owner, d, again[owner][i])
				}
			}
		}
	})
}

// FuzzLink reads whatever may stand in a link from a layer to its module, which is a hint: paths are made of it.
func FuzzLink(f *testing.F) {
	f.Add([]byte(`{"digest":"` + string(DigestOf([]byte("module"))) + `","size":4096}`))
	f.Add([]byte(`{"digest":"sha256:../../x"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		cache, err := OpenCache(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		layer := DigestOf([]byte("layer"))
		if err := errors.Join(os.MkdirAll(cache.linksDir(), 0o700), os.WriteFile(filepath.Join(cache.linksDir(), layer.Hex()), text, 0o600)); err != nil {
			t.Fatal(err)
		}
		d, there := cache.link(layer)
		if there != d.Digest.Valid() {
			t.Errorf("%q is a link to %+v: %v", text, d, there)
		}
	})
}
