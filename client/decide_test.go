package client

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
)

// What is there of an offer is taken whole, or not at all.
func TestAssemble(t *testing.T) {
	at := func(version string) item {
		return item{resource: &mcpv1.Resource{Metadata: &mcpv1.Metadata{Name: "a", Version: version}}, message: wrapperspb.String(version)}
	}
	names := func(collection, name, version string) *waftv1.ResourceVersion {
		return &waftv1.ResourceVersion{Collection: collection, Name: name, Version: version}
	}
	for name, tc := range map[string]struct {
		offer                      offer
		complete, missing, refused string
	}{
		"nothing in it": {offer: offer{chain: &waftv1.Chain{}}, complete: ""},
		"what it names": {
			offer:    offer{chain: &waftv1.Chain{Resources: []*waftv1.ResourceVersion{names("flags", "a", "1")}}, sets: map[string]set{"flags": {"a": at("1"), "b": at("1")}}},
			complete: "flags:a",
		},
		"another version": {
			offer:   offer{chain: &waftv1.Chain{Resources: []*waftv1.ResourceVersion{names("flags", "a", "2")}}, sets: map[string]set{"flags": {"a": at("1")}}},
			missing: "flags:a",
		},
		"one of two": {
			offer:   offer{chain: &waftv1.Chain{Resources: []*waftv1.ResourceVersion{names("flags", "a", "1"), names("settings", "a", "1")}}, sets: map[string]set{"flags": {"a": at("1")}}},
			missing: "settings:a",
		},
		"one of a collection that is not taken": {
			offer:    offer{chain: &waftv1.Chain{Resources: []*waftv1.ResourceVersion{names("flags", "a", "1"), names("others", "a", "1")}}, sets: map[string]set{"flags": {"a": at("1")}}},
			complete: "flags:a",
		},
		"one that cannot be read": {
			offer: offer{chain: &waftv1.Chain{Resources: []*waftv1.ResourceVersion{names("flags", "a", "2")}}, sets: map[string]set{"flags": {"a": at("1")}},
				broken: map[string]map[versioned]string{"flags": {{"a", "2"}: "no flag"}}},
			refused: "no flag",
		},
		"one that could not be read in a version that is not meant": {
			offer: offer{chain: &waftv1.Chain{Resources: []*waftv1.ResourceVersion{names("flags", "a", "1")}}, sets: map[string]set{"flags": {"a": at("1")}},
				broken: map[string]map[versioned]string{"flags": {{"a", "2"}: "no flag"}}},
			complete: "flags:a",
		},
		"filters": {
			offer: offer{chain: &waftv1.Chain{Filters: []*waftv1.FilterVersion{{Name: "authz"}}, Resources: []*waftv1.ResourceVersion{names("flags", "a", "1")}},
				sets: map[string]set{"flags": {"a": at("1")}}},
			refused: "authz",
		},
		"two chains": {offer: offer{chain: &waftv1.Chain{Split: &waftv1.ChainSplit{}}}, refused: "no filters"},
	} {
		t.Run(name, func(t *testing.T) {
			a := assemble(tc.offer, []string{"flags", "settings"})
			var complete []string
			if a.complete != nil {
				for collection := range a.complete.sets {
					for _, name := range a.complete.names(collection) {
						complete = append(complete, collection+":"+name)
					}
				}
			}
			if (a.complete == nil) != (tc.missing != "" || tc.refused != "") || strings.Join(complete, " ") != tc.complete || strings.Join(a.missing, " ") != tc.missing ||
				(a.refused == "") != (tc.refused == "") || !strings.Contains(a.refused, tc.refused) {
				t.Errorf("it is %v of %q, missing %q, refused %q", a.complete, complete, a.missing, a.refused)
			}
		})
	}
}

// What a chain is on disk after it was taken; first, then each with the ones before.
func TestTaken(t *testing.T) {
	a, b, c := &kept{Hash: "a", Digest: "1"}, &kept{Hash: "b", Digest: "2"}, &kept{Hash: "c", Digest: "3"}
	olderA, olderB := &kept{Hash: "a", Digest: "1", Version: "old"}, &kept{Hash: "b", Digest: "2", Version: "old"}
	fewerA, fewerB := &kept{Hash: "a", Digest: "5", Takes: "flags"}, &kept{Hash: "b", Digest: "6", Takes: "flags"}
	partA := &kept{Hash: "a", Digest: "4", Version: "old"} // of fewer collections
	for name, tc := range map[string]struct {
		before record
		take   *kept
		trials bool
		want   record
	}{
		"the first is good":                          {record{}, a, true, record{Good: a}},
		"the next is on trial":                       {record{Good: a}, b, true, record{Good: a, Trial: b}},
		"without trials it is good":                  {record{Good: a}, b, false, record{Good: b, Before: a}},
		"another one on trial":                       {record{Good: a, Trial: b}, c, true, record{Good: a, Trial: c}},
		"taken back while it was on trial":           {record{Good: a, Before: c, Trial: b}, a, true, record{Good: a, Before: c}},
		"taken back to what was good before":         {record{Good: a, Before: b}, b, true, record{Good: b, Before: a}},
		"taken back past what was on trial":          {record{Good: a, Before: b, Trial: c}, b, true, record{Good: b, Before: a}},
		"what the version before had before":         {record{Good: a, Before: olderB}, b, true, record{Good: a, Before: olderB, Trial: b}},
		"the same without trials":                    {record{Good: a, Before: olderB}, b, false, record{Good: b, Before: a}},
		"what it goes back to anyhow":                {record{Good: olderA, Before: b}, a, true, record{Good: a, Before: b}},
		"with collections that no version has taken": {record{Good: partA, Before: b}, a, true, record{Good: partA, Before: b, Trial: a}},
		"with others, without a version":             {record{Good: fewerA, Before: b}, a, true, record{Good: fewerA, Before: b, Trial: a}},
		"back to what took others":                   {record{Good: a, Before: fewerB}, b, true, record{Good: a, Before: fewerB, Trial: b}},
		"the same of them without trials":            {record{Good: partA, Before: b}, a, false, record{Good: a, Before: b}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := taken(tc.before, tc.take, tc.trials); got != tc.want {
				t.Errorf("it is %+v, want %+v", got, tc.want)
			}
		})
	}
}

// Nothing that comes from outside makes a message out of nothing, or ends the application.
func FuzzDecode(f *testing.F) {
	f.Add("type.googleapis.com/google.protobuf.StringValue", []byte{0x0a, 1, 'x'})
	f.Add("", []byte(nil))
	f.Add("type.googleapis.com/google.protobuf.Any", []byte{0xff})
	f.Fuzz(func(t *testing.T, url string, value []byte) {
		for _, c := range []Subscription{Collection[*wrapperspb.StringValue]("a"), Collection[*anypb.Any]("a")} {
			m, err := decodeResource(c, &mcpv1.Resource{Metadata: &mcpv1.Metadata{Name: "a"}, Body: &anypb.Any{TypeUrl: url, Value: value}})
			if err == nil && m == nil {
				t.Error("no message, and no error")
			}
		}
	})
}
