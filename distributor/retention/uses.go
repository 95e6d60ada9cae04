package retention

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	registryapi "github.com/distribution/distribution/v3/registry/api/v2"
	"github.com/gorilla/mux"

	"github.com/waft-project/waft/registry"
)

// Uses stands before an embedded registry and knows what of it is used: pushed, mounted, pulled or asked for. It keeps the steps of a removal and those requests apart by which a
// client could be told of something that is being removed. It may be used concurrently.
type Uses struct {
	next   http.Handler
	routes *mux.Router

	// settling is held for reading by requests until they have decided what they answer, and for writing while something is removed. It is taken for writing by TryLock alone, so
	// that nobody waits for a push that takes long.
	settling sync.RWMutex

	mu sync.Mutex
	// used was since the last look began, and before since the one before that, as long as what that look has decided is not kept.
	used, before map[Object]bool
}

// NewUses stands before a registry's handler.
func NewUses(next http.Handler) *Uses {
	return &Uses{next: next, routes: registryapi.RouterWithPrefix(""), used: map[Object]bool{}}
}

// ServeHTTP is http.Handler's.
func (u *Uses) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var match mux.RouteMatch
	// Read as the registry itself reads it.
	if !u.routes.Match(r, &match) || match.Route == nil {
		u.next.ServeHTTP(w, r)
		return
	}
	switch match.Route.GetName() {
	case registryapi.RouteNameManifest:
		u.serve(w, unconditional(r), match.Vars["name"], r.Method == http.MethodGet || r.Method == http.MethodHead)
	case registryapi.RouteNameBlob:
		// A pull is sent without it: a file that is open can be read to its end.
		u.serve(w, r, match.Vars["name"], r.Method == http.MethodGet || r.Method == http.MethodHead)
	case registryapi.RouteNameBlobUpload, registryapi.RouteNameBlobUploadChunk:
		if r.Method == http.MethodPatch {
			u.next.ServeHTTP(w, r) // it is no blob yet
			return
		}
		u.serve(w, r, match.Vars["name"], false)
	default:
		u.next.ServeHTTP(w, r)
	}
}

// serve serves a request that may use something of a repository; early: it has once it begins to be answered.
func (u *Uses) serve(w http.ResponseWriter, r *http.Request, repository string, early bool) {
	u.settling.RLock()
	done := sync.OnceFunc(u.settling.RUnlock)
	defer done()
	u.next.ServeHTTP(&use{ResponseWriter: w, answered: func(status int, h http.Header) {
		if digest := registry.Digest(h.Get("Docker-Content-Digest")); status < http.StatusBadRequest && digest.Valid() {
			u.mu.Lock()
			u.used[Object{repository, digest}] = true
			u.mu.Unlock()
		}
		if early {
			done()
		}
	}}, r)
}

// unconditional is a request for all of a manifest, whatever of it the client has: the registry answers 304 to who asks for a digest that they say they have, without a look at whether it is there.
func unconditional(r *http.Request) *http.Request {
	if r.Header["If-None-Match"] == nil {
		return r
	}
	whole := *r
	whole.Header = r.Header.Clone()
	whole.Header.Del("If-None-Match")
	return &whole
}

// use tells when a request begins to be answered.
type use struct {
	http.ResponseWriter
	answered func(status int, h http.Header)
	told     bool
}

// WriteHeader is http.ResponseWriter's.
func (u *use) WriteHeader(status int) {
	if !u.told && status >= http.StatusOK {
		u.told = true
		u.answered(status, u.Header())
	}
	u.ResponseWriter.WriteHeader(status)
}

// Write is http.ResponseWriter's.
func (u *use) Write(p []byte) (int, error) {
	if !u.told {
		u.told = true
		u.answered(http.StatusOK, u.Header())
	}
	return u.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the writer's own abilities.
func (u *use) Unwrap() http.ResponseWriter { return u.ResponseWriter }

const (
	// quietWait is how long is waited for a moment in which nobody pushes, and quietPause how long after one that was none.
	quietWait  = time.Minute
	quietPause = 10 * time.Millisecond
)

// errBusy is that somebody pushed all the time.
var errBusy = errors.New("somebody pushed to the registry all the time")

// quiet calls do while no request is being decided.
func (u *Uses) quiet(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, quietWait, errBusy)
	defer cancel()
	for !u.settling.TryLock() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(quietPause):
		}
	}
	defer u.settling.Unlock()
	return do()
}

// begin begins a look: what was used until now is in what it decides.
func (u *Uses) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.before, u.used = u.used, map[Object]bool{}
}

// decided says that what the look has decided is kept, or that there is none, so that the next one is to know what was used before this.
func (u *Uses) decided(kept bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !kept {
		maps.Copy(u.used, u.before)
	}
	u.before = nil
}

// has says whether something was used that no look has decided on.
func (u *Uses) has(o Object) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.used[o] || u.before[o]
}

// since is what was used since the last look began.
func (u *Uses) since() []Object {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.used))
}
