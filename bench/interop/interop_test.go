package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

// What is written as an image layout in any layout is read as the module again, and nothing that was changed since is.
func TestLayoutsOnDisk(t *testing.T) {
	wasm := registrytest.Wasm(5000, 1)
	all, err := images(wasm)
	if err != nil {
		t.Fatal(err)
	}
	for _, layout := range layouts {
		if layout == layoutZstd {
			continue // waft does not write it, so nobody fetches it from waft
		}
		t.Run(layout, func(t *testing.T) {
			dir := t.TempDir()
			if err := all[layout].writeLayout(dir, "x"); err != nil {
				t.Fatal(err)
			}
			got, err := readLayout(dir)
			if err != nil || got.Module != digestOf(wasm) {
				t.Fatalf("%+v, %v", got, err)
			}
			blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
			if err != nil || len(blobs) < 3 {
				t.Fatalf("%v, %v", blobs, err)
			}
			for _, blob := range blobs {
				whole, err := os.ReadFile(blob)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(blob, append(whole, 'x'), 0o600); err != nil {
					t.Fatal(err)
				}
				if got, err := readLayout(dir); err == nil {
					t.Errorf("%s was changed, and %+v was read", filepath.Base(blob), got)
				}
				if err := os.WriteFile(blob, whole, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Every image is one that waft reads, as the layout that it is meant to be.
func TestImagesAreRead(t *testing.T) {
	wasm := registrytest.Wasm(5000, 1)
	all, err := images(wasm)
	if err != nil {
		t.Fatal(err)
	}
	e := registrytest.Start(t)
	for _, layout := range layouts {
		img := all[layout]
		ref := e.Reference(t, "theirs/"+layout+":1")
		parts := []registrytest.Layer{}
		for _, l := range img.layers {
			parts = append(parts, registrytest.Layer{MediaType: l.mediaType, Data: l.data})
		}
		registrytest.Put(t, e, ref, img.config.mediaType, img.config.data, parts...)
		a, path, err := e.Client(t).Pull(t.Context(), ref, nil)
		if err != nil {
			t.Errorf("%s: %v", layout, err)
			continue
		}
		got, err := os.ReadFile(path)
		want := registry.Layout(strings.TrimSuffix(layout, "-zstd"))
		if err != nil || digestOf(got) != digestOf(wasm) || a.Layout != want {
			t.Errorf("%s: read as %s, %s, %v", layout, a.Layout, digestOf(got), err)
		}
	}
}

// A cell is good only with equal digests, and one that is ruled out says why.
func TestTrial(t *testing.T) {
	want := fetched{"sha256:a", "sha256:b"}
	for _, tc := range []struct {
		name string
		got  fetched
		err  error
		good bool
	}{
		{"the same", want, nil, true}, {"another artifact", fetched{"sha256:c", "sha256:b"}, nil, false},
		{"another module", fetched{"sha256:a", "sha256:c"}, nil, false}, {"an error", want, errors.New("no"), false},
	} {
		c := client{name: "x", pull: func(context.Context, *workshop, string, string) (fetched, error) { return tc.got, tc.err }}
		err := (&workshop{}).trial(c, cell{Direction: dirPull, Layout: layoutOCI}, "ref", want)(t.Context())
		if (err == nil) != tc.good {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	// Each client either does a thing or says why not.
	for _, c := range clients() {
		for direction, does := range map[string]bool{
			dirPull: c.pull != nil, dirPush: c.push != nil, dirCopy: c.copy != nil, dirBundle: c.bundle != nil, dirVerify: c.verify != nil, dirSign: c.sign != nil,
		} {
			for _, layout := range layouts {
				if !does && c.why(direction, layout) == "" {
					t.Errorf("%s: %s of %s is neither done nor ruled out", c.name, direction, layout)
				}
			}
		}
	}
}

func TestTable(t *testing.T) {
	cells := []cell{
		{Registry: "r", Client: "oras", Direction: dirPull, Layout: layoutOCI, OK: good},
		{Registry: "r", Client: "oras", Direction: dirPull, Layout: layoutCNCF, OK: ruled, Reason: "it cannot"},
		{Registry: "r", Client: "oras", Direction: dirPush, Layout: layoutCNCF, OK: ruled, Reason: "it cannot"},
		cell{Registry: "r", Client: "crane", Direction: dirPull, Layout: layoutOCI}.judge(errors.New("it did not")),
	}
	var text strings.Builder
	if err := printTable(&text, cells); err != nil {
		t.Fatal(err)
	}
	const want = `r
CLIENT  DIRECTION  OCI     CNCF
oras    pull       ok      n/a
oras    push               n/a
crane   pull       FAILED  
  oras: n/a: it cannot [pull (cncf); push (cncf)]
  crane: FAILED: it did not [pull (oci)]

1 passed, 1 failed, 2 not applicable
`
	if text.String() != want {
		t.Errorf("%s", text.String())
	}
	data, err := json.Marshal(cells)
	if err != nil {
		t.Fatal(err)
	}
	var read []struct {
		OK     any
		Reason string
	}
	if err := json.Unmarshal(data, &read); err != nil || read[0].OK != true || read[1].OK != "n/a" || read[3].OK != false || read[3].Reason != "it did not" {
		t.Errorf("%s, %v", data, err)
	}
}
