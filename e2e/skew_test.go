package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/waft-project/waft/demo/fleet"
)

// olderVariable names an older waft, for `make skew`.
const olderVariable = "WAFT_OLDER"

// A fleet is brought from an older waft to this one and back, a process at a time and in the order that docs/run-the-distributor.md says; at each step a release is rolled out to
// a real Envoy beside an agent of either version, and served. What a node keeps is enough for either to serve by, without a distributor.
func TestSkew(t *testing.T) {
	older, newer := os.Getenv(olderVariable), waftBinary
	if older == "" {
		t.Skipf("%s names no older waft; make skew builds one and runs it", olderVariable)
	}
	f := newFleet(t)
	stamp := "" // what the nodes serve
	roll := func(what, by string) {
		t.Helper()
		f.Waft = by
		stamp = strings.ReplaceAll(what, " ", "-")
		rollOut(t, f, stamp, createRelease(t, f, stamp, "stamp", `{value: "`+stamp+`"}`), `[{percent: 100}]`)
		for _, n := range f.Nodes() {
			awaitStamp(t, n, stamp)
		}
		t.Logf("%s: rolled out, and served by all", what)
	}
	serve := func(by string) error {
		f.Waft = by
		return f.StartServe(t.Context())
	}
	mustServe := func(by string) {
		t.Helper()
		if err := serve(by); err != nil {
			t.Fatal(err)
		}
		if err := f.Connected(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	join := func(by, id string) *fleet.Node {
		t.Helper()
		f.Waft = by
		n, err := f.StartAgent(id, "env=test")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	// change has another version go on with what the agent of a node has left, while there is no distributor that could give it anything.
	change := func(n *fleet.Node, by string) {
		t.Helper()
		n.Agent.Stop()
		f.Waft = by
		if err := f.RestartAgent(n); err != nil {
			t.Fatal(err)
		}
		awaitStamp(t, n, stamp)
	}

	if err := f.StartUpstream(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := serve(older); err != nil {
		t.Fatal(err)
	}
	first, second := join(older, "first"), join(newer, "second")
	if err := f.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Waft = newer // by which a filter is built is no matter of versions that meet
	publish(t, f, "./e2e/filters/stamp")
	roll("older distributor and agents of both", older)

	f.Serve().Stop()
	mustServe(newer)
	for _, n := range f.Nodes() {
		awaitStamp(t, n, stamp)
	}
	roll("newer distributor on the data of the older", newer)
	roll("newer distributor and the older command line", older)

	f.Serve().Stop()
	change(first, newer)
	mustServe(newer)
	roll("newer agent on the state of the older", newer)

	f.Serve().Stop()
	change(second, older)
	change(first, older)
	mustServe(newer)
	roll("older agents on the state of the newer", newer)

	f.Serve().Stop()
	err := serve(older)
	if err != nil {
		// The store has another schema, which only the newer one knows; that is said, and nothing is changed.
		if !strings.Contains(err.Error(), "written by a newer waft") {
			t.Fatalf("the older distributor on the data of the newer: %v", err)
		}
		t.Logf("the older distributor does not take the data of the newer, and says so")
		mustServe(newer)
		roll("newer distributor after the older has refused", newer)
		return
	}
	if err := f.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
	roll("older distributor on the data of the newer", older)
}
