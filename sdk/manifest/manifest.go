package manifest

import (
	"encoding/json"
	"slices"
)

// MediaType is the media type of an encoded manifest, and the artifact type of the OCI referrer that carries it.
const MediaType = "application/vnd.waft.manifest.v1+json"

// Limits of a manifest. What is over them is refused by Decode, Encode and Validate.
const (
	// MaxBytes is the size of an encoded manifest.
	MaxBytes = 1 << 20
	// MaxDepth is how deeply objects and arrays may be nested, the configuration schema's included.
	MaxDepth = 64
	// MaxNameBytes is the length of Name, of Version and of a profile's name.
	MaxNameBytes = 128
	// MaxImports is the number of entries of Imports.
	MaxImports = 4096
	// MaxImportBytes is the length of one import.
	MaxImportBytes = 512
	// MaxProfiles is the number of entries of Envoys and of Missing.
	MaxProfiles = 64
	// MaxModuleBytes is the size of a module that a manifest can describe: as Istio, 256 MiB.
	MaxModuleBytes = 256 << 20
	// MaxMemoryBytes is the most that 32-bit Wasm can address: 4 GiB.
	MaxMemoryBytes = 4 << 30
)

// The ABI versions of proxy-wasm that a module can declare, by its export proxy_abi_version_X_Y_Z.
const (
	ABI010 = "0.1.0"
	ABI020 = "0.2.0"
	ABI021 = "0.2.1"
)

// Manifest describes one module. It is plain data: copies share slices and maps, so treat a decoded one as read-only.
// The zero value is not valid.
type Manifest struct {
	// Name is the filter's name: letters, digits, '.', '_' and '-', the first a letter or a digit.
	Name string `json:"name"`
	// Version is the author's: letters, digits, '.', '_', '+' and '-'. waft gives it no order.
	Version string `json:"version"`
	// SHA256 is the digest of the module's bytes: 64 lower-case hex digits, no prefix. Envoy compares the same digest.
	SHA256 string `json:"sha256"`
	// Size of the module in bytes.
	Size int64 `json:"size"`
	// ABI is the proxy-wasm ABI version that the module declares: "0.1.0", "0.2.0" or "0.2.1".
	ABI string `json:"abi"`
	// Language is the source language as far as the module tells it ("go", "rust", …), or empty.
	Language string `json:"language,omitempty"`
	// Imports are the functions that the module takes from its host, as MODULE.FUNCTION ("env.proxy_log"), sorted, each once.
	Imports []string `json:"imports"`
	// Envoys are the profiles of Envoy that can load the module ("envoy-1.36"), sorted by version. Empty: none that waft knows.
	Envoys []string `json:"envoys"`
	// Missing names, for each profile that cannot load the module, the imports that it lacks. Nil when there is none.
	Missing map[string][]string `json:"missing,omitempty"`
	// MemoryMax is the most memory in bytes that one VM of the module can grow to. 0: the module sets no maximum.
	MemoryMax int64 `json:"memoryMax"`
	// ConfigSchema is the JSON Schema (2020-12) of the plugin configuration. Nil: unknown, any configuration may be right.
	ConfigSchema json.RawMessage `json:"configSchema,omitempty"`
}

// Digest is the module's digest in OCI's form: sha256:HEX.
func (m Manifest) Digest() string { return "sha256:" + m.SHA256 }

// LoadableBy says whether the profile ("envoy-1.40") can load the module.
func (m Manifest) LoadableBy(profile string) bool { return slices.Contains(m.Envoys, profile) }
