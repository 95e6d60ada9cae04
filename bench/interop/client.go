package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

// client is somebody who reads or writes artifacts. A function that is nil is something that the client does not do.
type client struct {
	name string
	// pull fetches what stands at ref, and says what it got.
	pull func(ctx context.Context, w *workshop, ref, layout string) (fetched, error)
	// push publishes the module at ref in a layout.
	push func(ctx context.Context, w *workshop, ref, layout string) error
	// copy copies from one repository to another.
	copy func(ctx context.Context, w *workshop, from, to string) error
	// bundle publishes the artifact in waft's bundle, an unpacked OCI image layout in dir, whose name there is given.
	bundle func(ctx context.Context, w *workshop, dir, name, ref string) error
	// verify verifies what waft signed, and sign signs, in both of cosign's forms.
	verify, sign func(ctx context.Context, w *workshop, ref string) error
	// ruled says what the client's design rules out, by "DIRECTION LAYOUT" or "DIRECTION". What can be tried all the same is tried, and must fail.
	ruled map[string]string
}

// why is the reason why a cell is ruled out; empty when it is not.
func (c client) why(direction, layout string) string {
	if reason, ok := c.ruled[direction+" "+layout]; ok {
		return reason
	}
	return c.ruled[direction]
}

const notWritten = "waft reads this layout and does not write it"

func clients() []client {
	const (
		reads    = "it reads, and nothing else"
		copiesIn = "it publishes no folder or archive that holds an OCI image layout"
		noKeys   = "it does not know cosign's signatures"
		noCNCF   = "it reads the layouts oci and compat alone"
	)
	reader := map[string]string{dirPush: reads, dirCopy: reads, dirBundle: reads, dirVerify: noKeys, dirSign: reads}
	with := func(more ...string) map[string]string {
		m := map[string]string{}
		for k, v := range reader {
			m[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	skopeo := func(ctx context.Context, w *workshop, from, to string) error {
		_, err := w.run(ctx, w.dir, w.tools.skopeo, "--insecure-policy", "copy", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", from, to)
		return err
	}
	return []client{
		{
			name: "oras",
			pull: func(ctx context.Context, w *workshop, ref, layout string) (fetched, error) {
				dir, err := w.temp()
				if err != nil {
					return fetched{}, err
				}
				_, err = w.run(ctx, dir, w.tools.oras, "copy", "--from-plain-http", "--to-oci-layout", ref, filepath.Join(dir, "image")+":x")
				if err != nil || layout != layoutOCI {
					return layoutThere(filepath.Join(dir, "image"), err)
				}
				// The files of this layout have names, by which `oras pull` writes them.
				got, err := layoutThere(filepath.Join(dir, "image"), nil)
				if err != nil {
					return got, err
				}
				if _, err := w.run(ctx, dir, w.tools.oras, "pull", "--plain-http", ref, "-o", "files"); err != nil {
					return got, err
				}
				wasm, err := os.ReadFile(filepath.Join(dir, "files", "filter.wasm"))
				if err == nil && digestOf(wasm) != got.Module {
					err = fmt.Errorf("oras pull wrote %s, and oras copy %s", digestOf(wasm), got.Module)
				}
				return got, err
			},
			push: func(ctx context.Context, w *workshop, ref, layout string) error {
				dir, err := w.temp()
				if err != nil {
					return err
				}
				img := w.images[layout]
				if err := img.writeFiles(dir); err != nil {
					return err
				}
				args := []string{"push", "--plain-http", ref, "--config", img.config.name + ":" + img.config.mediaType}
				for _, l := range img.layers {
					args = append(args, l.name+":"+l.mediaType)
				}
				_, err = w.run(ctx, dir, w.tools.oras, args...)
				return err
			},
			copy: func(ctx context.Context, w *workshop, from, to string) error {
				_, err := w.run(ctx, w.dir, w.tools.oras, "copy", "-r", "--from-plain-http", "--to-plain-http", from, to)
				return err
			},
			bundle: func(ctx context.Context, w *workshop, dir, name, ref string) error {
				// The name has a colon, which oras would cut it at: it takes the digest as well.
				digest, err := bundleDigest(dir, name)
				if err != nil {
					return err
				}
				_, err = w.run(ctx, w.dir, w.tools.oras, "copy", "--from-oci-layout", dir+"@"+digest, "--to-plain-http", ref)
				return err
			},
			ruled: map[string]string{"pull " + layoutZstd: notWritten, "pull " + layoutOld: notWritten, dirVerify: noKeys, dirSign: noKeys},
		},
		{
			name: "crane",
			pull: func(ctx context.Context, w *workshop, ref, _ string) (fetched, error) {
				dir, err := w.temp()
				if err != nil {
					return fetched{}, err
				}
				_, err = w.run(ctx, dir, w.tools.crane, "pull", "--insecure", "--format=oci", ref, filepath.Join(dir, "image"))
				return layoutThere(filepath.Join(dir, "image"), err)
			},
			push: func(ctx context.Context, w *workshop, ref, layout string) error {
				dir, err := w.temp()
				if err != nil {
					return err
				}
				if err := w.images[layout].writeLayout(dir, "x"); err != nil {
					return err
				}
				_, err = w.run(ctx, dir, w.tools.crane, "push", "--insecure", dir, ref)
				return err
			},
			copy: func(ctx context.Context, w *workshop, from, to string) error {
				_, err := w.run(ctx, w.dir, w.tools.crane, "copy", "--insecure", from, to)
				return err
			},
			bundle: func(ctx context.Context, w *workshop, dir, name, ref string) error {
				// It publishes what an index names, all of it; a bundle names the artifact and what is attached to it.
				alone, err := onlyOf(w, dir, name)
				if err != nil {
					return err
				}
				_, err = w.run(ctx, w.dir, w.tools.crane, "push", "--insecure", alone, ref)
				return err
			},
			ruled: map[string]string{"pull " + layoutZstd: notWritten, "pull " + layoutOld: notWritten, dirVerify: noKeys, dirSign: noKeys},
		},
		{
			name: "skopeo",
			pull: func(ctx context.Context, w *workshop, ref, _ string) (fetched, error) {
				dir, err := w.temp()
				if err != nil {
					return fetched{}, err
				}
				err = skopeo(ctx, w, "docker://"+ref, "oci:"+filepath.Join(dir, "image")+":x")
				return layoutThere(filepath.Join(dir, "image"), err)
			},
			push: func(ctx context.Context, w *workshop, ref, layout string) error {
				dir, err := w.temp()
				if err != nil {
					return err
				}
				if err := w.images[layout].writeLayout(dir, "x"); err != nil {
					return err
				}
				return skopeo(ctx, w, "oci:"+dir+":x", "docker://"+ref)
			},
			copy: func(ctx context.Context, w *workshop, from, to string) error {
				return skopeo(ctx, w, "docker://"+from, "docker://"+to)
			},
			bundle: func(ctx context.Context, w *workshop, dir, name, ref string) error {
				return skopeo(ctx, w, "oci:"+dir+":"+name, "docker://"+ref)
			},
			ruled: map[string]string{"pull " + layoutZstd: notWritten, "pull " + layoutOld: notWritten, dirVerify: noKeys, dirSign: noKeys},
		},
		{
			name: "cosign",
			push: func(ctx context.Context, w *workshop, ref, _ string) error {
				dir, err := w.temp()
				if err != nil {
					return err
				}
				if err := w.images[layoutOld].writeFiles(dir); err != nil {
					return err
				}
				_, err = w.cosign(ctx, dir, "upload", "wasm", "--allow-http-registry", "-f", "filter.wasm", ref)
				return err
			},
			copy: func(ctx context.Context, w *workshop, from, to string) error {
				_, err := w.cosign(ctx, w.dir, "copy", "--allow-http-registry", from, to)
				return err
			},
			verify: func(ctx context.Context, w *workshop, ref string) error {
				for _, form := range forms {
					if out, err := w.cosignVerify(ctx, ref, form); err != nil {
						return fmt.Errorf("as a %s: %w\n%s", form, err, out)
					}
				}
				return nil
			},
			sign: func(ctx context.Context, w *workshop, ref string) error {
				for _, form := range forms {
					if err := w.cosignSign(ctx, ref, form); err != nil {
						return err
					}
				}
				return nil
			},
			ruled: map[string]string{
				dirPull: "it fetches signatures, not artifacts", dirBundle: copiesIn,
				"push " + layoutOCI:    "its `upload wasm` writes wasm-to-oci alone",
				"push " + layoutCompat: "its `upload wasm` writes wasm-to-oci alone",
				"push " + layoutZstd:   "its `upload wasm` writes wasm-to-oci alone",
				"push " + layoutCNCF:   "its `upload wasm` writes wasm-to-oci alone",
			},
		},
		{
			name: "Istio's agent",
			pull: func(ctx context.Context, w *workshop, ref, _ string) (fetched, error) {
				var got fetched
				out, err := w.run(ctx, w.dir, w.tools.istio, ref)
				if err == nil {
					err = json.Unmarshal([]byte(out), &got)
				}
				return got, err
			},
			ruled: with("pull "+layoutCNCF, noCNCF, "pull "+layoutOld, noCNCF, "pull "+layoutZstd, "it unpacks gzip alone"),
		},
		{
			name: "Envoy Gateway (its rules)", // its package is internal; see registrytest.ReadAsIstio
			pull: func(ctx context.Context, w *workshop, ref, _ string) (fetched, error) {
				at, err := registry.ParseReference(ref)
				if err != nil {
					return fetched{}, err
				}
				got, err := registrytest.ReadAsIstio(ctx, w.endpoint, at)
				return fetched{"sha256:" + got.ManifestDigest, digestOf(got.Module)}, err
			},
			ruled: with("pull "+layoutCNCF, noCNCF, "pull "+layoutOld, noCNCF, "pull "+layoutZstd, "it unpacks gzip alone"),
		},
		{
			name: "CNCF readers (their rules)",
			pull: func(ctx context.Context, w *workshop, ref, _ string) (fetched, error) {
				at, err := registry.ParseReference(ref)
				if err != nil {
					return fetched{}, err
				}
				wasm, manifest, err := registrytest.ReadAsCNCF(ctx, w.endpoint, at)
				return fetched{string(manifest), digestOf(wasm)}, err
			},
			ruled: with("pull "+layoutOCI, "they read their own layout alone", "pull "+layoutCompat, "they read their own layout alone",
				"pull "+layoutZstd, "they read their own layout alone", "pull "+layoutOld, "they read their own layout alone"),
		},
	}
}

// layoutThere reads an OCI image layout, unless there was an error before.
func layoutThere(dir string, err error) (fetched, error) {
	if err != nil {
		return fetched{}, err
	}
	return readLayout(dir)
}

// short is a reference's last word, for names of repositories.
func short(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(name))
}
