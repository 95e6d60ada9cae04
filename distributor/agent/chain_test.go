package agent

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/registry"
)

var someDigest = "sha256:" + strings.Repeat("ab", 32)

func goodFilter() *waftv1.Filter {
	return &waftv1.Filter{Name: "authz", Module: &waftv1.ModuleRef{Digest: someDigest, Size: 8}, Config: []byte("{}"), Phase: waftv1.Phase_AUTHN}
}

func TestDecodeFilter(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*waftv1.Filter)
		want   model.FailurePolicy
		says   string
	}{
		{name: "a good one", change: func(*waftv1.Filter) {}, want: model.FailReload},
		{name: "fail closed", change: func(f *waftv1.Filter) { f.FailurePolicy = waftv1.FailurePolicy_FAIL_CLOSED }, want: model.FailClosed},
		{name: "fail open without a phase", change: func(f *waftv1.Filter) {
			f.FailurePolicy, f.Phase = waftv1.FailurePolicy_FAIL_OPEN, waftv1.Phase_PHASE_UNSPECIFIED
		}, want: model.FailOpen},
		{name: "fail open in AUTHN", change: func(f *waftv1.Filter) { f.FailurePolicy = waftv1.FailurePolicy_FAIL_OPEN }, says: "AUTHN"},
		{name: "fail open in AUTHZ", change: func(f *waftv1.Filter) {
			f.FailurePolicy, f.Phase = waftv1.FailurePolicy_FAIL_OPEN, waftv1.Phase_AUTHZ
		}, says: "AUTHZ"},
		{name: "a policy of later versions", change: func(f *waftv1.Filter) { f.FailurePolicy = 9 }, says: "failure policy 9"},
		{name: "no module", change: func(f *waftv1.Filter) { f.Module = nil }, says: "module.digest"},
		{name: "a digest that is none", change: func(f *waftv1.Filter) { f.Module.Digest = "sha256:../../x" }, says: "module.digest"},
		{name: "a size below zero", change: func(f *waftv1.Filter) { f.Module.Size = -1 }, says: "module.size"},
		{name: "a size beyond the limit", change: func(f *waftv1.Filter) { f.Module.Size = registry.DefaultMaxModuleBytes + 1 }, says: "module.size"},
		{name: "a name that is no label", change: func(f *waftv1.Filter) { f.Name = "../x" }, says: "name"},
		{name: "another's body", change: func(f *waftv1.Filter) { f.Name = "other" }, says: "filter other"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := goodFilter()
			test.change(f)
			got, err := decodeFilter(resource(t, "authz", "v1", f))
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("error %v, want one with %q", err, test.says)
				}
				return
			}
			if err != nil || got.Policy != test.want || got.Version != "v1" || got.Digest != someDigest {
				t.Errorf("filter %+v, error %v", got, err)
			}
		})
	}
}

func TestAssemble(t *testing.T) {
	filters := map[string]filter{"a": {Name: "a", Version: "1"}, "b": {Name: "b", Version: "1"}}
	naming := func(versions ...string) *waftv1.Chain {
		c := &waftv1.Chain{Hash: "h", Generation: 3}
		for _, v := range versions {
			name, version, _ := strings.Cut(v, "@")
			c.Filters = append(c.Filters, &waftv1.FilterVersion{Name: name, Version: version})
		}
		return c
	}
	for _, test := range []struct {
		name     string
		chain    *waftv1.Chain
		complete []string
		missing  []string
	}{
		{name: "no chain"},
		{name: "an empty chain is complete", chain: naming(), complete: []string{}},
		{name: "all there, in the chain's order", chain: naming("b@1", "a@1"), complete: []string{"b", "a"}},
		{name: "one is not there", chain: naming("a@1", "c@1"), missing: []string{"c"}},
		{name: "one is there at another version", chain: naming("a@2", "b@1"), missing: []string{"a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			complete, missing := assemble(offer{chain: test.chain, filters: filters})
			if (complete == nil) != (test.complete == nil) || complete != nil && !slices.Equal(complete.names(), test.complete) || !slices.Equal(missing, test.missing) {
				t.Errorf("assembled %+v, missing %q", complete, missing)
			}
		})
	}
}

// FuzzDecode: what the source sends comes from outside.
func FuzzDecode(f *testing.F) {
	for _, m := range []proto.Message{goodFilter(), &waftv1.Chain{Hash: someDigest}, &waftv1.Prefetch{Module: goodFilter().GetModule()}, &waftv1.SecretValue{Layer: "global", Name: "token", Version: 1, Value: "x"}} {
		packed, err := anypb.New(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("authz", packed.GetTypeUrl(), packed.GetValue())
	}
	f.Fuzz(func(t *testing.T, name, typeURL string, value []byte) {
		r := &mcpv1.Resource{Metadata: &mcpv1.Metadata{Name: name}, Body: &anypb.Any{TypeUrl: typeURL, Value: value}}
		for _, collection := range append(collections[:], model.CollectionSecrets, "other") {
			var o offer
			if err := o.decode("authz", collection, []*mcpv1.Resource{r, nil}[:1]); err != nil {
				continue
			}
			for digest := range o.askedFor() {
				if !registry.Digest(digest).Valid() {
					t.Errorf("%s gives the digest %q", collection, digest)
				}
			}
			for ref, one := range o.secrets {
				if ref.Problem() != "" || ref.Version == 0 || (one.trouble == "") != (model.SecretProblem([]byte(one.value)) == "") {
					t.Errorf("the secret %s is taken as %q", ref, one)
				}
			}
			assemble(o)
		}
	})
}
