package retention

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
)

// answering answers each request for a manifest or a blob as a registry that has it; one with a body when that has been read.
func answering() *Uses {
	return NewUses(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Docker-Content-Digest", filepath.Base(r.URL.Path))
		w.WriteHeader(http.StatusOK)
	}))
}

func (u *Uses) pull(repository string, digest registry.Digest) {
	u.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v2/"+repository+"/manifests/"+string(digest), nil))
}

func (d disk) collector(uses *Uses) *Collector {
	return NewCollector(d.dir, uses, Policy{After: time.Hour}, slog.New(slog.DiscardHandler))
}

func look(t *testing.T, c *Collector, watched time.Duration, record func(Removal)) Collected {
	t.Helper()
	out, err := c.Look(t.Context(), nil, watched, func(_ context.Context, gone Removal) error {
		if record != nil {
			record(gone)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (d disk) has(repository string, digest registry.Digest) bool {
	_, err := os.Stat(filepath.Join(d.dir, filepath.FromSlash(Layout), "repositories", repository, "_manifests", "revisions", "sha256", digest.Hex(), "link"))
	return err == nil
}

// A registry is looked at while somebody pushes for long; only what removes waits until that is over, and what was recorded to go is recorded once, however often it could not go.
func TestLookWhileAPushTakesLong(t *testing.T) {
	d := disk{t, t.TempDir()}
	gone := d.manifest("a", map[string]any{"layers": []any{d.layer("a", "gone")}})
	d.blob([]byte("of nobody"))
	uses := answering()
	body, end := io.Pipe()
	began, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		request := httptest.NewRequest(http.MethodPut, "/v2/a/manifests/"+string(digest("pushed")), io.MultiReader(&silent{began: began}, body))
		uses.ServeHTTP(httptest.NewRecorder(), request)
	}()
	<-began
	c := d.collector(uses)
	look(t, c, 0, nil)
	if seen, err := c.See(t.Context(), nil); err != nil || len(seen.Artifacts) != 1 {
		t.Errorf("there are seen %v (%v)", seen.Artifacts, err)
	}
	var recorded []string
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Look(ctx, nil, time.Hour, func(_ context.Context, gone Removal) error {
		for _, of := range gone.objects() {
			recorded = append(recorded, of.Repository+"@"+of.Digest.Short())
		}
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || !d.has("a", gone.Digest) || len(recorded) != 2 {
		t.Errorf("while somebody pushes there are recorded %q, and there is still %v (%v)", recorded, d.has("a", gone.Digest), err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond) // it records nothing by which to know that it has got there
	defer cancel()
	if _, err := c.Look(ctx, nil, time.Hour, func(context.Context, Removal) error { return errors.New("recorded again") }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("once more: %v", err)
	}
	end.Close()
	<-over
	out := look(t, c, time.Hour, func(gone Removal) {
		for _, of := range gone.objects() {
			recorded = append(recorded, of.Repository+"@"+of.Digest.Short())
		}
	})
	if d.has("a", gone.Digest) || len(out.Removed) != 1 || len(recorded) != 3 || !strings.HasPrefix(recorded[2], "@") {
		t.Errorf("removed are %v, and recorded %q: the artifact with its blob, once, and then the blob of nobody", out.Removed, recorded)
	}
	if len(d.files()) > 0 {
		t.Errorf("there is left %v", d.files())
	}
}

// silent is a body of which nothing comes, and that says when it is read.
type silent struct{ began chan struct{} }

func (b *silent) Read([]byte) (int, error) {
	close(b.began)
	return 0, io.EOF
}

// What is used after it was decided that it goes, and recorded, stays with all that belongs to it; and a tag that names something new by then stays.
func TestWhatIsUsedMeanwhileStays(t *testing.T) {
	d := disk{t, t.TempDir()}
	image := func(repository, text string) registry.Descriptor {
		return d.manifest(repository, map[string]any{"layers": []any{d.layer(repository, text)}})
	}
	used, other, tagged := image("a", "used"), image("a", "other"), image("a", "tagged")
	signature := d.manifest("a", map[string]any{"layers": []any{d.layer("a", "signature")}, "subject": used})
	tag := "sha256-" + tagged.Digest.Hex()
	list := d.manifest("a", map[string]any{"manifests": []any{}}, tag)
	uses := answering()
	c := d.collector(uses)
	look(t, c, 0, nil)
	var newList registry.Descriptor
	look(t, c, time.Hour, func(Removal) {
		uses.pull("a", used.Digest)
		newList = d.manifest("a", map[string]any{"manifests": []any{}, "new": true}, tag)
		uses.pull("a", newList.Digest)
	})
	for what, tc := range map[string]struct {
		registry.Descriptor
		there bool
	}{"what was used": {used, true}, "its signature": {signature, true}, "another": {other, false}, "what a tag is about": {tagged, false}, "what that tag named": {list, false}, "what it names now": {newList, true}} {
		if got := d.has("a", tc.Digest); got != tc.there {
			t.Errorf("%s is there: %v, want %v", what, got, tc.there)
		}
	}
	all, err := c.reader.read(t.Context())
	if err != nil || all.Repositories[0].Tags[tag] != newList.Digest {
		t.Errorf("the tag names %v (%v)", all.Repositories[0].Tags, err)
	}
	if m := all.Repositories[0].Manifests[used.Digest]; len(m.Blobs) != 1 || all.Blobs[m.Blobs[0]].Size == 0 {
		t.Errorf("the blob of what was used is gone: %v", m)
	}
	for path := range d.files() {
		if strings.Contains(path, "/index/sha256/"+list.Digest.Hex()) {
			t.Errorf("%s is left", path)
		}
	}
}

// What was pulled is not forgotten by a restart, and what was pushed anew is not, though the process was killed before it had written that down.
func TestUsesOverARestart(t *testing.T) {
	d := disk{t, t.TempDir()}
	pulled, pushed, gone := d.manifest("a", map[string]any{"a": 1}), d.manifest("a", map[string]any{"a": 2}), d.manifest("a", map[string]any{"a": 3})
	uses := answering()
	c := d.collector(uses)
	look(t, c, 0, nil)
	look(t, c, 59*time.Minute, nil)
	uses.pull("a", pulled.Digest)
	if err := c.Keep(); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(d.dir, filepath.FromSlash(Layout), "repositories/a/_manifests/revisions/sha256", pushed.Digest.Hex(), "link")
	if err := os.Chtimes(link, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	look(t, d.collector(answering()), 2*time.Minute, nil)
	for what, tc := range map[string]struct {
		registry.Descriptor
		there bool
	}{"what was pulled": {pulled, true}, "what was pushed": {pushed, true}, "another": {gone, false}} {
		if got := d.has("a", tc.Digest); got != tc.there {
			t.Errorf("%s is there: %v, want %v", what, got, tc.there)
		}
	}
	// Where nobody notes what is used, all waits anew once somebody does.
	if err := errors.Join(Forget(d.dir), Forget(d.dir)); err != nil {
		t.Fatal(err)
	}
	look(t, d.collector(answering()), 1000*time.Hour, nil)
	if !d.has("a", pulled.Digest) {
		t.Error("it has waited while nobody noted what was used")
	}
}

// What is removed of a repository with many tags is as much as goes, and no more; it goes in steps; and who wants it no longer has an end to it.
func TestRemovalOfManyTags(t *testing.T) {
	const tags, going, signatures = 60, 250, 2*recordObjects + 1
	d := disk{t, t.TempDir()}
	for i := range tags {
		d.manifest("a", map[string]any{"tagged": i}, fmt.Sprint("v", i))
	}
	for i := range going {
		old := d.manifest("a", map[string]any{"gone": i})
		d.write(fmt.Sprintf("repositories/a/_manifests/tags/v%d/index/sha256/%s/link", i%tags, old.Digest.Hex()), []byte(old.Digest))
	}
	signed := d.manifest("b", map[string]any{"signed": true})
	for i := range signatures {
		d.manifest("b", map[string]any{"signature": i, "subject": signed})
	}
	c := d.collector(answering())
	removals, steps := 0, 0
	c.reader.removeAll = func(path string) error {
		removals++
		return os.RemoveAll(path)
	}
	look(t, c, 0, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cut, err := c.Look(ctx, nil, time.Hour, func(context.Context, Removal) error {
		if steps++; steps > 1 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || len(cut.Removed) < stepObjects || len(cut.Removed) == going {
		t.Errorf("%d have gone before nobody wanted it any more (%v)", len(cut.Removed), err)
	}
	out := look(t, c, time.Hour, func(gone Removal) {
		if len(gone.objects()) > recordObjects {
			t.Errorf("%d objects are recorded at once", len(gone.objects()))
		}
	})
	if want := going + 1 + signatures; len(out.Removed)+len(cut.Removed) != want { // what belongs together goes in one step, but is recorded bit by bit
		t.Errorf("%d and %d have gone, of %d", len(cut.Removed), len(out.Removed), want)
	}
	if want := 3*going + 2*(1+signatures); removals != want { // its link, its bytes and what a tag has named once
		t.Errorf("there were %d removals, want %d", removals, want)
	}
	if left := len(d.files()); left != 4*tags {
		t.Errorf("%d files are left, want %d", left, 4*tags)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := c.See(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("who does not want to know: %v", err)
	}
}

// Who waits for the registry waits for a step: of artifacts with very many blobs these go in further steps, and until then they are the pusher's who is told of one.
func TestRemovalOfManyBlobs(t *testing.T) {
	const blobs = 3 * stepObjects * blobsEach
	d := disk{t, t.TempDir()}
	var layers []any
	var told registry.Digest // what goes last
	for i := range blobs {
		blob := d.layer("a", fmt.Sprint("blob ", i))
		layers, told = append(layers, blob), max(told, blob.Digest)
	}
	large := d.manifest("a", map[string]any{"layers": layers})
	c := d.collector(answering())
	look(t, c, 0, nil)
	recorded := 0
	out := look(t, c, time.Hour, func(gone Removal) {
		recorded += len(gone.objects())
		if n := len(gone.objects()); n > stepObjects*blobsEach {
			t.Errorf("%d objects are removed at once", n)
		}
		if !d.has("a", large.Digest) {
			c.uses.pull("a", told)
		}
	})
	if len(out.Removed) != 1 || recorded != blobs { // all but what somebody was told of, and the artifact
		t.Errorf("%d artifacts have gone, and %d objects are recorded", len(out.Removed), recorded)
	}
	if left := d.files(); len(left) != 2 || !left["/repositories/a/_layers/sha256/"+told.Hex()+"/link"] {
		t.Errorf("there is left %v, want the blob that somebody was told of", left)
	}
}
