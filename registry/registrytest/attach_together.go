package registrytest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/waft-project/waft/registry"
)

// listLog notes the requests for lists of referrers, as a registry without the referrers API has them: GET and PUT.
type listLog struct {
	next http.Handler
	// absent is how many reads of a list are answered as if there were none.
	absent int

	mu      sync.Mutex
	methods []string
}

func (l *listLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.URL.Path, "/manifests/sha256-") {
		l.next.ServeHTTP(w, r)
		return
	}
	l.mu.Lock()
	l.methods = append(l.methods, r.Method)
	hide := r.Method == http.MethodGet && l.absent > 0
	if hide {
		l.absent--
	}
	l.mu.Unlock()
	if hide {
		Answer(http.StatusNotFound)(w, r, nil)
		return
	}
	l.next.ServeHTTP(w, r)
}

func (l *listLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	methods := l.methods
	l.methods = nil
	return methods
}

func writes(methods []string) int {
	return len(slices.DeleteFunc(slices.Clone(methods), func(m string) bool { return m != http.MethodPut }))
}

// hasReferrers says whether a registry keeps lists of referrers itself.
func hasReferrers(e Endpoint) bool {
	w := httptest.NewRecorder()
	e.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v2/filters/authz/referrers/"+string(registry.DigestOf(nil)), nil))
	return w.Code == http.StatusOK
}

// Several attachments are one change of the list.
func testAttachTogether(t *testing.T, e Endpoint) {
	if e.Handler == nil {
		t.Skip("the endpoint has no handler to count the requests of")
	}
	log := &listLog{next: e.Handler}
	logged := Serve(t, log)
	c := logged.Client(t)
	m, _ := testModule(5000, 1)
	a := mustPush(t, c, logged.Reference(t, "filters/authz:1"), m)
	log.take()
	var all []registry.Attachment
	for i := range 3 {
		all = append(all, registry.Attachment{ArtifactType: reportType, Data: fmt.Appendf(nil, "report %d", i)})
	}
	all = append(all, all[0]) // twice the same
	referrers, err := c.AttachAll(t.Context(), a, all)
	if err != nil {
		t.Fatal(err)
	}
	if len(referrers) != 4 || referrers[3].Descriptor != referrers[0].Descriptor || referrers[1].Descriptor == referrers[0].Descriptor {
		t.Errorf("attached as %+v", referrers)
	}
	want := 1
	if hasReferrers(e) {
		want = 0
	}
	if methods := log.take(); writes(methods) != want {
		t.Errorf("the list was asked for by %v, want %d PUT", methods, want)
	}
	var texts []string
	for _, att := range mustList(t, logged.Client(t), a, reportType) {
		texts = append(texts, string(att.Data))
	}
	if slices.Sort(texts); !slices.Equal(texts, []string{"report 0", "report 1", "report 2"}) {
		t.Errorf("attached are %q", texts)
	}
	if got := mustList(t, logged.Client(t), a, ""); len(got) != 4 {
		t.Errorf("%d attachments with the manifest, want 4", len(got))
	}
	if none, err := c.AttachAll(t.Context(), a, nil); err != nil || len(none) != 0 {
		t.Errorf("nothing was attached as %+v, %v", none, err)
	}
}

// A push that begins the list of an image's referrers need not watch it, if the image is new: nobody else can have begun it with anything else.
// Where the image was there already, somebody may be at it.
func testPushBeginsTheList(t *testing.T, e Endpoint) {
	if e.Handler == nil || hasReferrers(e) {
		t.Skip("the endpoint keeps the list itself, or has no handler to count the requests of")
	}
	log := &listLog{next: e.Handler}
	logged := Serve(t, log)
	m, _ := testModule(5000, 1)
	a := mustPush(t, logged.Client(t), logged.Reference(t, "filters/authz:1"), m)
	if methods := log.take(); !slices.Equal(methods, []string{http.MethodGet, http.MethodPut}) {
		t.Errorf("a new image: %v, want one GET and one PUT", methods)
	}
	mustPush(t, logged.Client(t), logged.Reference(t, "filters/authz:2"), m)
	if methods := log.take(); !slices.Equal(methods, []string{http.MethodGet}) {
		t.Errorf("an image whose list is there: %v, want one GET", methods)
	}
	log.absent = 1
	mustPush(t, logged.Client(t), logged.Reference(t, "filters/authz:3"), m)
	methods := log.take()
	if i := slices.Index(methods, http.MethodPut); i < 0 || len(methods)-i < 3 {
		t.Errorf("an image without a list that was there before: %v, want a PUT and two GET after it", methods)
	}
	if got := mustList(t, logged.Client(t), a, ""); len(got) != 1 {
		t.Errorf("%d attachments, want the manifest alone", len(got))
	}
}
