package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waft-project/waft/registry/registrytest"
)

// tools are the programs that are run.
type tools struct{ waft, oras, crane, skopeo, cosign, istio, registry string }

// commandTime is how long one command may take.
const commandTime = 2 * time.Minute

// workshop is what the cells of one registry work with.
type workshop struct {
	tools    tools
	dir      string // scratch, and the home of every program that is run
	endpoint registrytest.Endpoint
	module   string // the module's file, with its manifest beside it
	wasm     []byte
	images   map[string]image
	// Keys: what waft signs with and cosign verifies, and one that signed nothing.
	key, pub, otherPub string
}

func (w *workshop) temp() (string, error) { return os.MkdirTemp(w.dir, "cell-") }

// ref is a reference at the workshop's registry.
func (w *workshop) ref(repository, tag string) string {
	return w.endpoint.Host + "/" + repository + ":" + tag
}

// run runs a program with nothing of the user's configuration, and gives what it printed.
func (w *workshop) run(ctx context.Context, dir, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	// No network but the registry's: a proxy that nobody serves.
	cmd.Env = []string{
		"HOME=" + w.dir, "DOCKER_CONFIG=" + w.dir, "XDG_RUNTIME_DIR=" + w.dir, "TUF_ROOT=" + filepath.Join(w.dir, "tuf"), "TMPDIR=" + w.dir,
		"COSIGN_PASSWORD=", "HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=127.0.0.1", "PATH=" + os.Getenv("PATH"),
	}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, lastLines(said.String()))
	}
	return out.String(), nil
}

// lastLines keeps the end of what a program said, in one line.
func lastLines(text string) string {
	const kept = 600
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > kept {
		text = "…" + text[len(text)-kept:]
	}
	return text
}

func (w *workshop) waft(ctx context.Context, command string, args ...string) (string, error) {
	return w.run(ctx, w.dir, w.tools.waft, append([]string{command, "--plain-http", w.endpoint.Host}, args...)...)
}

func (w *workshop) cosign(ctx context.Context, dir string, args ...string) (string, error) {
	return w.run(ctx, dir, w.tools.cosign, args...)
}

// expect pulls ref with waft, and checks that it is the module, in the layout and with the artifact's digest. An empty digest is not checked.
func (w *workshop) expect(ctx context.Context, ref, layout, digest string) (fetched, error) {
	dir, err := w.temp()
	if err != nil {
		return fetched{}, err
	}
	file := filepath.Join(dir, "pulled.wasm")
	out, err := w.waft(ctx, "pull", ref, "-O", file, "-o", "json")
	if err != nil {
		return fetched{}, err
	}
	var told struct {
		Digest string `json:"digest"`
		Layout string `json:"layout"`
		Module struct {
			Digest string `json:"digest"`
		} `json:"module"`
	}
	if err := json.Unmarshal([]byte(out), &told); err != nil {
		return fetched{}, err
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		return fetched{}, err
	}
	got := fetched{told.Digest, digestOf(wasm)}
	if layout == layoutZstd {
		layout = layoutCompat
	}
	switch {
	case told.Layout != layout:
		err = fmt.Errorf("waft reads %s as %s, want %s", ref, told.Layout, layout)
	case !bytes.Equal(wasm, w.wasm) || told.Module.Digest != got.Module:
		err = fmt.Errorf("waft pulled %s and says %s, want %s", got.Module, told.Module.Digest, digestOf(w.wasm))
	case digest != "" && digest != told.Digest:
		err = fmt.Errorf("the artifact's digest is %s, want %s", told.Digest, digest)
	}
	return got, err
}

// digestAt is the digest that the registry has for a reference, asked by crane and not by waft.
func (w *workshop) digestAt(ctx context.Context, ref string) (string, error) {
	out, err := w.run(ctx, w.dir, w.tools.crane, "digest", "--insecure", ref)
	return strings.TrimSpace(out), err
}

// bundleDigest is the digest of an artifact in a bundle, by its name there.
func bundleDigest(dir, name string) (string, error) {
	d, err := bundled(dir, name)
	return string(d.Digest), err
}

func bundled(dir, name string) (ocispec.Descriptor, error) {
	text, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(text, &index); err != nil {
		return ocispec.Descriptor{}, err
	}
	for _, d := range index.Manifests {
		if d.Annotations[ocispec.AnnotationRefName] == name {
			return d, nil
		}
	}
	return ocispec.Descriptor{}, fmt.Errorf("the bundle has no %s", name)
}

// onlyOf is a bundle whose index names one artifact; the blobs are shared.
func onlyOf(w *workshop, dir, name string) (string, error) {
	d, err := bundled(dir, name)
	if err != nil {
		return "", err
	}
	alone, err := w.temp()
	if err != nil {
		return "", err
	}
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{d}}
	index.SchemaVersion = 2
	text, err := json.Marshal(index)
	return alone, errors.Join(err,
		os.WriteFile(filepath.Join(alone, "index.json"), text, 0o600),
		os.WriteFile(filepath.Join(alone, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600),
		os.Symlink(filepath.Join(dir, "blobs"), filepath.Join(alone, "blobs")))
}
