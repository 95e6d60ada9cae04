package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/sealed"
)

// openFolder is an agent's inbox over a state folder; what was there before is given back by close.
func openFolder(t *testing.T, dir string) (*inbox, *stateFolder) {
	t.Helper()
	state, damaged, err := openState(dir)
	if err != nil || damaged != nil {
		t.Fatal(err, damaged)
	}
	return openInbox("n1", state, slog.New(slog.DiscardHandler)), state
}

// flag is a resource of a version whose message holds the version.
func flag(t testing.TB, name, version string) *mcpv1.Resource {
	return resource(t, name, version, wrapperspb.String(name+" "+version))
}

// updateTo is a collection as a sink has it after a message.
func updateTo(collection string, resources ...*mcpv1.Resource) mcp.Update {
	return mcp.Update{Collection: collection, Resources: resources}
}

// chainNaming is a chain with a filter and resources, COLLECTION:NAME@VERSION.
func chainNaming(t testing.TB, hash string, generation int64, filterVersion string, resources ...string) *mcpv1.Resource {
	c := &waftv1.Chain{Hash: model.Digest([]byte(hash)), Generation: generation, Filters: []*waftv1.FilterVersion{{Name: "authz", Version: filterVersion}}}
	for _, r := range resources {
		key, version, _ := strings.Cut(r, "@")
		collection, name, _ := strings.Cut(key, ":")
		c.Resources = append(c.Resources, &waftv1.ResourceVersion{Collection: collection, Name: name, Version: version})
	}
	return resource(t, "n1", fmt.Sprint(hash, generation), c)
}

// held are the resources of a chain as COLLECTION:NAME=MESSAGE, read from the disk.
func held(t *testing.T, c *chain, from *bodies) []string {
	t.Helper()
	if c == nil {
		return nil
	}
	var out []string
	for _, r := range c.Resources {
		message, err := from.get(r.Digest)
		if err != nil {
			t.Fatal(err)
		}
		var text wrapperspb.StringValue
		if err := mcp.Body(message, &text); err != nil {
			t.Fatal(err)
		}
		out = append(out, r.key()+"="+text.GetValue())
	}
	return out
}

// permutations calls do with each order of n things.
func permutations(n int, do func([]int)) {
	var next func(order, left []int)
	next = func(order, left []int) {
		if len(left) == 0 {
			do(order)
			return
		}
		for i := range left {
			next(append(slices.Clone(order), left[i]), slices.Delete(slices.Clone(left), i, i+1))
		}
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	next(nil, all)
}

// In whatever order the parts of a release come, and wherever the agent is started anew meanwhile, the node has the release before or the whole new one, with the
// resources at the versions that it names: never a part, and never a mix.
func TestAReleaseIsTakenWholeInAnyOrder(t *testing.T) {
	t.Parallel() // it waits for the disk
	filterAt := func(version string) *mcpv1.Resource { return resource(t, "authz", version, goodFilter()) }
	before := []string{"flags:a=a 1", "flags:b=b 1", "limits:x=x 1"}
	after := []string{"flags:a=a 2", "limits:x=x 2", "policies/acme:p=p 1"}
	first := []mcp.Update{
		updateTo(model.CollectionFilters, filterAt("1")),
		updateTo(model.CollectionChains, chainNaming(t, "one", 1, "1", "flags:a@1", "flags:b@1", "limits:x@1")),
		updateTo("flags", flag(t, "a", "1"), flag(t, "b", "1")),
		updateTo("limits", flag(t, "x", "1")),
	}
	second := []mcp.Update{
		updateTo(model.CollectionFilters, filterAt("2")),
		updateTo(model.CollectionChains, chainNaming(t, "two", 2, "2", "flags:a@2", "limits:x@2", "policies/acme:p@1")),
		updateTo("flags", flag(t, "a", "2")),
		updateTo("limits", flag(t, "x", "2")),
		updateTo("policies/acme", flag(t, "p", "1")),
	}
	orders := 0
	permutations(len(second), func(order []int) {
		orders++
		dir := t.TempDir()
		box, state := openFolder(t, dir)
		take := func(u mcp.Update) {
			t.Helper()
			if err := box.apply(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		// The first one in an order of its own each time.
		for i := range first {
			if d := state.read().Desired; d != nil {
				t.Fatalf("%v: after %d of %d updates there is a chain, %+v", order, i, len(first), d)
			}
			take(first[(i+orders)%len(first)])
		}
		if got := held(t, state.read().Desired, box.bodies); !slices.Equal(got, before) {
			t.Fatalf("%v: at first it is %q", order, got)
		}
		for i, at := range order {
			if got := held(t, state.read().Desired, box.bodies); !slices.Equal(got, before) || state.read().Desired.Filters[0].Version != "1" {
				t.Fatalf("%v: after %d updates it is %q", order, i, got)
			}
			take(second[at])
			if i != orders%len(order) {
				continue
			}
			// Started anew: what was accepted is not asked for again, and what only an earlier update named is still there.
			wanted := map[string]int{}
			for collection, resources := range box.held() {
				wanted[collection] = len(resources)
			}
			_ = state.close()
			box, state = openFolder(t, dir)
			found := map[string]int{}
			for collection, resources := range box.held() {
				found[collection] = len(resources)
			}
			if !maps.Equal(wanted, found) {
				t.Fatalf("%v: it held %v, and holds %v", order, wanted, found)
			}
			if err := box.bodies.drop(state, nil); err != nil {
				t.Fatal(err)
			}
		}
		if got := held(t, state.read().Desired, box.bodies); !slices.Equal(got, after) || state.read().Desired.Filters[0].Version != "2" {
			t.Fatalf("%v: in the end it is %q", order, got)
		}
		if got := box.more(); !slices.Equal(got, []string{"flags", "limits", "policies/acme"}) {
			t.Fatalf("it asks for %q besides", got)
		}
		_ = state.close()
	})
}

// What a chain needs is kept, and what none needs is not.
func TestBodiesThatNobodyNeedsAreDropped(t *testing.T) {
	box, state := openFolder(t, t.TempDir())
	files := func() int {
		entries, err := os.ReadDir(box.bodies.dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	take := func(u mcp.Update) {
		t.Helper()
		if err := box.apply(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	take(updateTo(model.CollectionFilters, resource(t, "authz", "1", goodFilter())))
	take(updateTo("flags", flag(t, "a", "1"), flag(t, "b", "1")))
	take(updateTo(model.CollectionChains, chainNaming(t, "one", 1, "1", "flags:a@1")))
	good := state.read().Desired
	if err := state.change(func(r *record) { r.Good = good }); err != nil {
		t.Fatal(err)
	}
	take(updateTo("flags", flag(t, "a", "2")))
	take(updateTo(model.CollectionChains, chainNaming(t, "two", 2, "1", "flags:a@2")))
	trying := state.read().Desired
	take(updateTo("flags"))
	take(updateTo(model.CollectionChains, chainNaming(t, "three", 3, "1")))
	if n := files(); n != 3 {
		t.Fatalf("%d files before, want a at 1 and 2, and b", n)
	}
	if err := box.bodies.drop(state, trying); err != nil || files() != 2 || len(held(t, good, box.bodies))+len(held(t, trying, box.bodies)) != 2 {
		t.Errorf("%d files, %v", files(), err)
	}
	if err := box.bodies.drop(state, nil); err != nil || files() != 1 || len(held(t, good, box.bodies)) != 1 {
		t.Errorf("%d files, %v", files(), err)
	}
}

// A message that the disk has damaged is not used, and is asked for anew; the others are not.
func TestADamagedResourceIsAskedForAnew(t *testing.T) {
	dir := t.TempDir()
	box, state := openFolder(t, dir)
	if err := box.apply(t.Context(), updateTo("flags", flag(t, "a", "1"), flag(t, "b", "1"))); err != nil {
		t.Fatal(err)
	}
	a := state.read().Resources["flags"][0]
	content, err := os.ReadFile(box.bodies.path(a.Digest))
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-1] ^= 1
	if err := os.WriteFile(box.bodies.path(a.Digest), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := box.bodies.get(a.Digest); !errors.Is(err, sealed.ErrTorn) {
		t.Errorf("it is read: %v", err)
	}
	_ = state.close()
	box, _ = openFolder(t, dir)
	if got := box.held()["flags"]; len(got) != 1 || got[0].GetMetadata().GetName() != "b" {
		t.Errorf("held are %v", got)
	}
	if err := box.apply(t.Context(), updateTo("flags", flag(t, "a", "1"), flag(t, "b", "1"))); err != nil {
		t.Fatal(err)
	}
	if _, err := box.bodies.get(a.Digest); err != nil {
		t.Errorf("sent again, it is still %v", err)
	}
}

func TestResourcesThatAreRefused(t *testing.T) {
	box, state := openFolder(t, t.TempDir())
	big := strings.Repeat("x", maxResourceBytes/2)
	for name, update := range map[string]mcp.Update{
		"waft's own":     updateTo("waft/v1/other", flag(t, "a", "1")),
		"no collection":  updateTo("../x", flag(t, "a", "1")),
		"no name":        updateTo("flags", flag(t, "a b", "1")),
		"no body":        updateTo("flags", &mcpv1.Resource{Metadata: &mcpv1.Metadata{Name: "a"}}),
		"too large":      updateTo("flags", resource(t, "a", "1", wrapperspb.String(big)), resource(t, "b", "1", wrapperspb.String(big)), flag(t, "c", "1")),
		"a chain's name": updateTo(model.CollectionChains, chainNaming(t, "one", 1, "1", "Flags:a@1")),
		"twice":          updateTo(model.CollectionChains, chainNaming(t, "one", 1, "1", "flags:a@1", "flags:a@2")),
	} {
		if err := box.apply(t.Context(), update); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
	if r := state.read(); len(r.Resources) != 0 || r.Desired != nil || r.Generation != 0 {
		t.Errorf("something was kept: %+v", r)
	}
	// What was there before an update that is refused stays.
	for _, u := range []mcp.Update{updateTo(model.CollectionFilters, resource(t, "authz", "1", goodFilter())), updateTo("flags", flag(t, "a", "1")), updateTo("limits", resource(t, "b", "1", wrapperspb.String(big)))} {
		if err := box.apply(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	if err := box.apply(t.Context(), updateTo("flags", resource(t, "a", "2", wrapperspb.String(big)))); err == nil {
		t.Error("two collections that are too large together were taken")
	}
	if err := box.apply(t.Context(), updateTo(model.CollectionChains, chainNaming(t, "one", 1, "1", "flags:a@1"))); err != nil {
		t.Fatal(err)
	}
	if got := held(t, state.read().Desired, box.bodies); !slices.Equal(got, []string{"flags:a=a 1"}) {
		t.Errorf("after a refused update the node has %q", got)
	}
}

// As many resources as a release may have are taken, and not one more; of all collections together twice that, while the node is between two chains.
func TestSoManyResourcesAreTaken(t *testing.T) {
	var many []*mcpv1.Resource
	chain := &waftv1.Chain{}
	for i := range model.MaxResources + 1 {
		name := fmt.Sprint("f", i)
		many = append(many, flag(t, name, "1"))
		chain.Resources = append(chain.Resources, &waftv1.ResourceVersion{Collection: "flags", Name: name, Version: "1"})
	}
	if _, _, err := decodeResources("flags", many); err == nil || !strings.Contains(err.Error(), "has 4097 resources; at most 4096") {
		t.Errorf("a collection: %v", err)
	}
	most, _, err := decodeResources("flags", many[:model.MaxResources])
	if err != nil {
		t.Fatal(err)
	}
	if err := checkResources("chain", chain); err == nil || !strings.Contains(err.Error(), "names 4097 resources; at most 4096") {
		t.Errorf("a chain: %v", err)
	}
	chain.Resources = chain.Resources[:model.MaxResources]
	if err := checkResources("chain", chain); err != nil {
		t.Error(err)
	}
	all := offer{resources: map[string][]heldResource{"flags": most, "limits": most}}
	if err := all.fits(); err != nil {
		t.Error(err)
	}
	all.resources["more"] = most[:1]
	if err := all.fits(); err == nil || !strings.Contains(err.Error(), "8193 resources") {
		t.Errorf("all together: %v", err)
	}
}

// shownNow is what an application reads that resolves the link once: NAME=MESSAGE by collection, and the chain.
func shownNow(dir string) (map[string][]string, string, error) {
	set, err := filepath.EvalSymlinks(filepath.Join(dir, currentLink))
	if err != nil {
		return nil, "", err
	}
	out, hash := map[string][]string{}, ""
	err = filepath.WalkDir(set, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var file shownCollection
		if err := json.Unmarshal(text, &file); err != nil {
			return err
		}
		if rel, _ := filepath.Rel(set, path); rel != filepath.FromSlash(file.Collection)+".json" {
			return fmt.Errorf("%s is of collection %s", rel, file.Collection)
		}
		if hash != "" && hash != file.Chain {
			return fmt.Errorf("%s and %s are shown together", hash, file.Chain)
		}
		hash = file.Chain
		for _, r := range file.Resources {
			out[file.Collection] = append(out[file.Collection], r.Name+"="+string(r.Body.Value[2:])) // behind the tag and the length of the one field
		}
		return nil
	})
	return out, hash, err
}

// An application sees one chain whole, whenever it looks.
func TestWhatIsShownIsWhole(t *testing.T) {
	box, state := openFolder(t, t.TempDir())
	dir := filepath.Join(t.TempDir(), "shown")
	chains := make([]*chain, 2)
	for i := range chains {
		v := fmt.Sprint(i + 1)
		for _, u := range []mcp.Update{
			updateTo(model.CollectionFilters, resource(t, "authz", "1", goodFilter())),
			updateTo("flags", flag(t, "a", v)), updateTo("envoy/clusters", flag(t, "c", v)),
			updateTo(model.CollectionChains, chainNaming(t, v, int64(i+1), "1", "flags:a@"+v, "envoy/clusters:c@"+v)),
		} {
			if err := box.apply(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		chains[i] = state.read().Desired
	}
	if err := show(dir, &chain{}, box.bodies); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a node without resources has the folder: %v", err)
	}
	if err := show(dir, chains[0], box.bodies); err != nil {
		t.Fatal(err)
	}
	stop, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(failed)
		for {
			select {
			case <-stop:
				return
			default:
			}
			got, hash, err := shownNow(dir)
			if errors.Is(err, fs.ErrNotExist) {
				continue // two chains on, its set is gone; it looks again
			}
			v := "1"
			if hash == chains[1].Hash {
				v = "2"
			}
			if err != nil || !slices.Equal(got["flags"], []string{"a=a " + v}) || !slices.Equal(got["envoy/clusters"], []string{"c=c " + v}) {
				failed <- fmt.Errorf("%v of %s, %w", got, hash, err)
				return
			}
		}
	}()
	for i := range 50 {
		if err := show(dir, chains[(i+1)%2], box.bodies); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-failed; err != nil {
		t.Error(err)
	}
	if sets, err := os.ReadDir(filepath.Join(dir, setsFolder)); err != nil || len(sets) != 2 {
		t.Errorf("%d sets are left, %v; want the last two", len(sets), err)
	}
	// Without resources nothing is shown any more; a set that cannot be made leaves the one before.
	broken := *chains[0]
	broken.Resources = []heldResource{{Collection: "flags", Name: "a", Digest: model.Digest([]byte("none"))}}
	was, _, _ := shownNow(dir)
	if err := show(dir, &broken, box.bodies); err == nil {
		t.Error("what is not there was shown")
	}
	if is, _, err := shownNow(dir); err != nil || fmt.Sprint(is) != fmt.Sprint(was) {
		t.Errorf("%v was shown, and now %v, %v", was, is, err)
	}
	if err := show(dir, &chain{}, box.bodies); err != nil {
		t.Fatal(err)
	}
	if got, _, err := shownNow(dir); err != nil || len(got) != 0 {
		t.Errorf("%v is still shown, %v", got, err)
	}
}

// A chain is shown when it is proved to serve, and the good one when it is not.
func TestWhatIsToBeShown(t *testing.T) {
	good, next := &chain{Hash: "good"}, &chain{Hash: "next"}
	for name, test := range map[string]struct {
		trial *trial
		good  *chain
		want  *chain
		known bool
	}{
		"nothing yet":             {},
		"the first, not proved":   {trial: &trial{chain: next, epoch: 1}},
		"the first, proved":       {trial: &trial{chain: next, epoch: 1, proved: time.Unix(1, 0)}, want: next, known: true},
		"good":                    {good: good, want: good, known: true},
		"the next, not proved":    {trial: &trial{chain: next, epoch: 1}, good: good, want: good, known: true},
		"the next, proved":        {trial: &trial{chain: next, epoch: 1, proved: time.Unix(1, 0)}, good: good, want: next, known: true},
		"of an agent before this": {trial: &trial{chain: next, inherited: inheritance{there: true}}, good: good},
	} {
		if got, known := toShow(test.trial, test.good); got != test.want || known != test.known {
			t.Errorf("%s: %v, %v", name, got, known)
		}
	}
}
