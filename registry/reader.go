package registry

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Reader is a system that pulls modules from registries by rules of its own about how an image must look.
type Reader string

// The readers whose rules are known here.
const (
	// ReaderIstio is Istio's agent: istio's pkg/wasm/imagefetcher.go, versions 1.29 to 1.31.
	ReaderIstio Reader = "istio"
	// ReaderEnvoyGateway has Istio's rules, in Envoy Gateway's internal/wasm.
	ReaderEnvoyGateway Reader = "envoy-gateway"
	// ReaderWasme is solo.io's tool: https://github.com/solo-io/wasm/tree/master/tools/wasme/pkg/pull
	ReaderWasme Reader = "wasme"
	// ReaderCNCF is what reads by the CNCF's note:
	// https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/
	ReaderCNCF Reader = "cncf"
)

// Readers are all of them, always in the same order.
func Readers() []Reader {
	return []Reader{ReaderIstio, ReaderEnvoyGateway, ReaderWasme, ReaderCNCF}
}

// Reads says whether a layout is one that the reader is made for. ReadAs says whether it reads an artifact.
func (r Reader) Reads(l Layout) bool {
	switch l {
	case LayoutOCI:
		return r == ReaderIstio || r == ReaderEnvoyGateway || r == ReaderWasme
	case LayoutCompat:
		return r == ReaderIstio || r == ReaderEnvoyGateway
	case LayoutCNCF:
		return r == ReaderCNCF
	}
	return false
}

// imageReading is one way in which a reader would find the module in an image.
type imageReading struct {
	layer Descriptor
	// packed: the layer is a gzipped tar with a plugin.wasm.
	packed bool
	// config is read as well, and must pass check; without a digest there is none.
	config Descriptor
	check  func([]byte) error
}

// readings are the ways that a reader tries, in its order: the next one where one fails. No way is an error. Where the rules
// of a reader are lax, these are, too: what it would load is the question, and not what it should.
func (r Reader) readings(m imageJSON) ([]imageReading, error) {
	switch r {
	case ReaderIstio, ReaderEnvoyGateway:
		return istioReadings(m)
	case ReaderWasme:
		return wasmeReadings(m)
	case ReaderCNCF:
		return cncfReadings(m)
	}
	return nil, &Error{Kind: ErrUnsupportedLayout, Detail: "there is no reader " + quote(string(r)), Next: fmt.Sprintf("use one of %v", Readers())}
}

// istioReadings: a Docker image is compat and nothing else; an OCI one is tried as compat, and then as two layers.
func istioReadings(m imageJSON) ([]imageReading, error) {
	want := mediaTypeOCITarGzip
	if m.MediaType == mediaTypeDockerManifest {
		want = mediaTypeDockerTarGzip
	}
	var ways []imageReading
	if n := len(m.Layers); n > 0 && m.Layers[n-1].MediaType == want {
		ways = append(ways, imageReading{layer: m.Layers[n-1], packed: true})
	}
	if m.MediaType != mediaTypeDockerManifest && len(m.Layers) == 2 {
		if at := slices.IndexFunc(m.Layers, func(l Descriptor) bool { return l.MediaType == mediaTypeModuleContent }); at >= 0 {
			ways = append(ways, imageReading{layer: m.Layers[at]})
		}
	}
	if len(ways) == 0 {
		return nil, notForReader(m, "a last layer %s, or two layers with one %s among them", want, mediaTypeModuleContent)
	}
	return ways, nil
}

// wasmeReadings: the first layer of each of the two types, whatever else is there.
func wasmeReadings(m imageJSON) ([]imageReading, error) {
	first := func(mediaType string) Descriptor {
		if at := slices.IndexFunc(m.Layers, func(l Descriptor) bool { return l.MediaType == mediaType }); at >= 0 {
			return m.Layers[at]
		}
		return Descriptor{}
	}
	module, config := first(mediaTypeModuleContent), first(mediaTypeModuleConfig)
	if module.Digest == "" || config.Digest == "" {
		return nil, notForReader(m, "a layer %s and one %s", mediaTypeModuleConfig, mediaTypeModuleContent)
	}
	return []imageReading{{layer: module, config: config, check: checkWasmeConfig}}, nil
}

func checkWasmeConfig(data []byte) error {
	var config struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return err
	}
	if config.Type != "envoy_proxy" {
		return fmt.Errorf("type %s, want envoy_proxy", quote(config.Type))
	}
	return nil
}

// cncfReadings: a configuration of its own type, and one layer, which the configuration names.
func cncfReadings(m imageJSON) ([]imageReading, error) {
	if m.MediaType != mediaTypeOCIManifest || m.Config == nil || m.Config.MediaType != mediaTypeCNCFConfig ||
		len(m.Layers) != 1 || m.Layers[0].MediaType != mediaTypeCNCFContent {
		return nil, notForReader(m, "an OCI manifest with the configuration %s and one layer %s", mediaTypeCNCFConfig, mediaTypeCNCFContent)
	}
	layer := m.Layers[0]
	return []imageReading{{layer: layer, config: *m.Config, check: func(data []byte) error {
		var config struct {
			Created      *time.Time `json:"created"` // the crate oci-wasm asks for it
			Architecture string     `json:"architecture"`
			OS           string     `json:"os"`
			LayerDigests []Digest   `json:"layerDigests"`
		}
		if err := json.Unmarshal(data, &config); err != nil {
			return err
		}
		if config.Created == nil || config.Architecture != architectureWasm || config.OS != osWasm || !slices.Equal(config.LayerDigests, []Digest{layer.Digest}) {
			return fmt.Errorf("want created, architecture %s, os %s, and layerDigests with the one layer", architectureWasm, osWasm)
		}
		return nil
	}}}, nil
}

func notForReader(m imageJSON, format string, args ...any) error {
	config := "none"
	if m.Config != nil {
		config = quote(m.Config.MediaType)
	}
	return &Error{Kind: ErrUnsupportedLayout, Detail: fmt.Sprintf("want "+format, args...) + fmt.Sprintf("; it has the configuration %s and the layers %s", config, layerTypes(m.Layers)),
		Next: "publish it in a layout that this reader takes"}
}
