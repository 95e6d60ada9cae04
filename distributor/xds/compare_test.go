package xds

import (
	"slices"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterchainv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// compare reads a resource as Envoy does: the slot, and the filters in it.
func compare(t *testing.T, resource *anypb.Any, slot string, filters []string) {
	t.Helper()
	var config corev3.TypedExtensionConfig
	if err := resource.UnmarshalTo(&config); err != nil {
		t.Fatal(err)
	}
	var chain filterchainv3.FilterChainConfig
	if err := config.GetTypedConfig().UnmarshalTo(&chain); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range chain.GetDefaultFilterChain().GetFilters() {
		got = append(got, f.GetName())
	}
	if config.GetName() != slot || !slices.Equal(got, filters) {
		t.Fatalf("got slot %s with %v, want %s with %v", config.GetName(), got, slot, filters)
	}
}
