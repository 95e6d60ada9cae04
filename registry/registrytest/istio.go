package registrytest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"

	"github.com/waft-project/waft/registry"
)

// IstioImage is what Istio's agent, and Envoy Gateway, get out of an image.
type IstioImage struct {
	// ManifestDigest is what they compare a WasmPlugin's sha256 with: hex.
	ManifestDigest string
	// Module is the Wasm bytes.
	Module []byte
	// Config is the configuration layer of the two-layer layout; nobody but wasme reads it.
	Config []byte
}

// ReadAsIstio reads an image by the rules of istio (pkg/wasm/imagefetcher.go, 1.29 to 1.31) and of Envoy Gateway
// (internal/wasm/imagefetcher.go), which are the same. It is written apart from package registry, over net/http alone, so
// that the two cannot be wrong together.
func ReadAsIstio(ctx context.Context, e Endpoint, ref registry.Reference) (IstioImage, error) {
	scheme := "https"
	if e.PlainHTTP {
		scheme = "http"
	}
	base := scheme + "://" + e.Host + "/v2/" + ref.Repository
	get := func(path string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json")
		resp, err := e.httpClient().Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("GET %s: %s", path, resp.Status)
		}
		return io.ReadAll(resp.Body)
	}
	raw, err := get("/manifests/" + ref.Tag)
	if err != nil {
		return IstioImage{}, err
	}
	sum := sha256.Sum256(raw)
	img := IstioImage{ManifestDigest: hex.EncodeToString(sum[:])}
	var m struct {
		MediaType string `json:"mediaType"`
		Layers    []struct {
			MediaType string `json:"mediaType"`
			Digest    string `json:"digest"`
			Size      int    `json:"size"`
		} `json:"layers"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return img, err
	}
	blob := func(i int) ([]byte, error) {
		data, err := get("/blobs/" + m.Layers[i].Digest)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		if "sha256:"+hex.EncodeToString(sum[:]) != m.Layers[i].Digest || len(data) != m.Layers[i].Size {
			return nil, errors.New("the layer is not what its descriptor says")
		}
		return data, nil
	}
	// A Docker manifest, or an OCI one whose last layer is a gzipped tar: the compat variant.
	compat := func(want string) ([]byte, error) {
		if len(m.Layers) == 0 {
			return nil, errors.New("number of layers must be greater than zero")
		}
		last := len(m.Layers) - 1
		if m.Layers[last].MediaType != want {
			return nil, fmt.Errorf("media type %s, expect %s", m.Layers[last].MediaType, want)
		}
		data, err := blob(last)
		if err != nil {
			return nil, err
		}
		return untar(data)
	}
	if m.MediaType == "application/vnd.docker.distribution.manifest.v2+json" {
		img.Module, err = compat("application/vnd.docker.image.rootfs.diff.tar.gzip")
		return img, errors.Join(err, checkIstioModule(img.Module))
	}
	if img.Module, err = compat("application/vnd.oci.image.layer.v1.tar+gzip"); err == nil {
		return img, checkIstioModule(img.Module)
	}
	if len(m.Layers) != 2 {
		return img, fmt.Errorf("number of layers must be 2 but got %d", len(m.Layers))
	}
	found := false
	for i, l := range m.Layers {
		data, err := blob(i)
		if err != nil {
			return img, err
		}
		switch l.MediaType {
		case "application/vnd.module.wasm.content.layer.v1+wasm":
			if !found {
				img.Module, found = data, true
			}
		case "application/vnd.module.wasm.config.v1+json":
			img.Config = data
		}
	}
	if !found {
		return img, errors.New("could not find the layer of type application/vnd.module.wasm.content.layer.v1+wasm")
	}
	return img, checkIstioModule(img.Module)
}

// checkIstioModule is all that Istio asks of the bytes.
func checkIstioModule(b []byte) error {
	if len(b) < 8 || !bytes.HasPrefix(b, []byte{0, 'a', 's', 'm'}) {
		return errors.New("not a Wasm binary")
	}
	return nil
}

func untar(data []byte) ([]byte, error) {
	gz, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	tr := tar.NewReader(gz)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil, errors.New("plugin.wasm not found in the archive")
		}
		if err != nil {
			return nil, err
		}
		if filepath.Base(h.Name) == "plugin.wasm" {
			return io.ReadAll(tr)
		}
	}
}
