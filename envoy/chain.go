package envoy

import (
	"bytes"
	"encoding/json"
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterchainv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Names of slots.
const (
	// SlotName is the slot that holds the chain that serves.
	SlotName = "waft"
	// PreloadSlotName is the slot, on a listener that binds no port, that loads modules before they are needed.
	PreloadSlotName = "waft-next"
)

// FilterSlotName is the slot of one filter where a whole chain does not fit into one (Envoy 1.36 to 1.38).
func FilterSlotName(filter string) string { return SlotName + "." + filter }

// SlotFileName is the name of the file that a slot watches, in the folder that the bootstrap names.
func SlotFileName(slot string) string { return slot + ".json" }

// SlotStats is the prefix of a slot's statistics: version_text, config_reload, config_fail, update_success,
// update_rejected, update_failure.
func SlotStats(slot string) string { return "extension_config_discovery.http_filter." + slot + "." }

// SlotFile is the content of one slot's file.
type SlotFile struct {
	Slot string
	// Content is a DiscoveryResponse as JSON.
	Content []byte
}

// Slots renders a chain for one version of Envoy: one file from 1.39 on, one for each filter before. Version becomes
// version_text of each slot. In an older Envoy the files are not swapped as one.
func Slots(number Number, filters []WasmFilter, version string) ([]SlotFile, error) {
	if number.HasFilterChain() {
		content, err := Chain(SlotName, filters, version)
		if err != nil {
			return nil, err
		}
		return []SlotFile{{Slot: SlotName, Content: content}}, nil
	}
	if err := unique(filters); err != nil {
		return nil, err
	}
	if cohort, err := cohortOf(filters); err != nil || cohort != (Cohort{}) {
		return nil, fmt.Errorf("%w: Envoy %s cannot run two chains side by side; that needs 1.39 or later", ErrInvalid, number)
	}
	files := make([]SlotFile, 0, len(filters))
	for _, filter := range filters {
		content, err := FilterSlot(filter, version)
		if err != nil {
			return nil, err
		}
		files = append(files, SlotFile{Slot: FilterSlotName(filter.Name), Content: content})
	}
	return files, nil
}

// Chain renders an ordered chain as the ECDS file of a slot (Envoy 1.39 and later). Filters with Only are two chains in one, of which each request
// takes one, whole. Requests meet the filters in order, responses in reverse. No
// filters give an explicit empty chain: everything passes. Version becomes the slot's version_text once Envoy took it.
func Chain(slot string, filters []WasmFilter, version string) ([]byte, error) {
	chain, err := filterChain(filters)
	if err != nil {
		return nil, err
	}
	return discoveryResponse(slot, chain, version)
}

// FilterSlot renders one filter as the ECDS file of its own slot (Envoy 1.36 to 1.38).
func FilterSlot(filter WasmFilter, version string) ([]byte, error) {
	wasm, err := filter.wasm()
	if err != nil {
		return nil, err
	}
	return discoveryResponse(FilterSlotName(filter.Name), wasm, version)
}

const (
	typeURLPrefix           = "type.googleapis.com/"
	typedExtensionConfigURL = typeURLPrefix + "envoy.config.core.v3.TypedExtensionConfig"
	filterChainURL          = typeURLPrefix + "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig"
	listenerURL             = typeURLPrefix + "envoy.config.listener.v3.Listener"
	wasmURL                 = typeURLPrefix + "envoy.extensions.filters.http.wasm.v3.Wasm"
)

func filterChain(filters []WasmFilter) (*anypb.Any, error) {
	if err := unique(filters); err != nil {
		return nil, err
	}
	if len(filters) == 0 {
		// A FilterChain must have a filter; a FilterChainConfig without one lets everything pass.
		return anypb.New(&filterchainv3.FilterChainConfig{})
	}
	chain := &filterchainv3.FilterChain{}
	cohort, err := cohortOf(filters)
	if err != nil {
		return nil, err
	}
	if cohort != (Cohort{}) {
		first, err := decision(cohort)
		if err != nil {
			return nil, err
		}
		chain.Filters = append(chain.Filters, first)
	}
	for _, filter := range filters {
		config, err := filter.TypedExtensionConfig()
		if err != nil {
			return nil, err
		}
		if config, err = only(config, filter.Only); err != nil {
			return nil, err
		}
		chain.Filters = append(chain.Filters, config)
	}
	packed, err := anypb.New(&filterchainv3.FilterChainConfig{DefaultFilterChain: chain})
	if err != nil {
		return nil, fmt.Errorf("render a chain: %w", err)
	}
	return packed, nil
}

func unique(filters []WasmFilter) error {
	seen := make(map[string]bool, len(filters))
	for _, filter := range filters {
		if seen[filter.id()] {
			return fmt.Errorf("%w: the chain has two filters named %s", ErrInvalid, filter.id())
		}
		seen[filter.id()] = true
	}
	return nil
}

// ExtensionConfigURL is the type of what a slot holds, in discovery.
const ExtensionConfigURL = typedExtensionConfigURL

// ChainResource renders an ordered chain as the resource of a slot, for an Envoy that asks a server for it (1.39 and later). It is what Chain has as a file.
func ChainResource(slot string, filters []WasmFilter) (*anypb.Any, error) {
	chain, err := filterChain(filters)
	if err != nil {
		return nil, err
	}
	return resource(slot, chain)
}

func resource(slot string, config *anypb.Any) (*anypb.Any, error) {
	packed, err := anypb.New(&corev3.TypedExtensionConfig{Name: slot, TypedConfig: config})
	if err != nil {
		return nil, fmt.Errorf("render slot %s: %w", slot, err)
	}
	return packed, nil
}

func discoveryResponse(slot string, config *anypb.Any, version string) ([]byte, error) {
	resource, err := resource(slot, config)
	if err != nil {
		return nil, err
	}
	return render(&discoveryv3.DiscoveryResponse{VersionInfo: version, TypeUrl: typedExtensionConfigURL, Resources: []*anypb.Any{resource}})
}

// render is protobuf's JSON in one fixed form: protojson varies its white space on purpose.
func render(message proto.Message) ([]byte, error) {
	compact, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("render %s as JSON: %w", message.ProtoReflect().Descriptor().FullName(), err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, compact, "", " "); err != nil {
		return nil, fmt.Errorf("render %s as JSON: %w", message.ProtoReflect().Descriptor().FullName(), err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
