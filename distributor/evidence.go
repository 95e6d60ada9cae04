package distributor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/trust"
)

// evidencePrefix is where agents get what stands beside modules and releases in registries, which they do not reach.
const evidencePrefix = "/trust/"

const (
	// gatherInterval is how long what was gathered is given out without asking the registry again.
	gatherInterval = 5 * time.Second
	// gatherTimeout bounds the gathering for one artifact.
	gatherTimeout = 20 * time.Second
	// maxGathered is how many times of gathering are remembered; beyond it they are forgotten, and registries asked again.
	maxGathered = 1 << 14
)

// evidence is the courier of signatures and attestations: it gathers them when a release is created and when somebody asks for
// them, and keeps them on this distributor's disk, so that nodes can decide while a registry is away. What was there once stays:
// whoever takes a signature out of a registry takes it from no node. Nothing of it is decided here. It may be used concurrently.
type evidence struct {
	client *registry.Client
	dir    string
	log    *slog.Logger
	// known says which artifact of which reference a digest is.
	known func(digest string) (artifact, error)
	// host is the name of the embedded registry, where releases' signatures are.
	host string
	// release finds a release by NAME@sha256:HEX.
	release func(ctx context.Context, ref string) (model.Release, error)
	// descriptors gives a descriptor set by its digest.
	descriptors func(ctx context.Context, digest string) ([]byte, error)

	gathering singleflight.Group
	// keeping is held by who puts something beside what was kept before, so that nobody's is lost.
	keeping sync.Mutex
	// mu guards gathered.
	mu       sync.Mutex
	gathered map[string]time.Time
}

// openEvidence makes the folder. known, release and descriptors are set before it is used.
func openEvidence(client *registry.Client, dir, host string, log *slog.Logger) (*evidence, error) {
	e := &evidence{client: client, dir: filepath.Join(dir, "evidence"), host: host, log: log, gathered: map[string]time.Time{}}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of evidence: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(e.dir, "*.tmp"))
	if err != nil {
		return nil, fmt.Errorf("read the folder of evidence: %w", err)
	}
	for _, path := range left {
		_ = os.Remove(path) // what an interrupted write left
	}
	return e, nil
}

// artifact is the dossier of an artifact of a release. With now the registry is asked, however short ago it was.
func (e *evidence) artifact(ctx context.Context, digest registry.Digest, now bool) (trust.Dossier, error) {
	a, err := e.known(string(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return trust.Dossier{}, &model.Error{Kind: model.ErrNotFound, Object: "artifact " + string(digest), Message: "no release of this distributor names it", Next: "check the digest"}
	}
	if err != nil {
		return trust.Dossier{}, err
	}
	path := e.path(string(digest))
	err = e.gather(ctx, path, now, func(ctx context.Context) error {
		ref, err := registry.ParseReference(a.Module.Reference)
		if err != nil {
			return err
		}
		resolved, err := e.client.Resolve(ctx, ref.AtDigest(digest))
		if err != nil {
			return err
		}
		found, err := trust.Gather(ctx, e.client, resolved)
		if err != nil {
			return err
		}
		return e.keepArtifact(digest, found)
	})
	return stored(path, err, trust.ParseDossier)
}

// keepArtifact puts what was gathered beside what was before.
func (e *evidence) keepArtifact(digest registry.Digest, found trust.Dossier) error {
	e.keeping.Lock()
	defer e.keeping.Unlock()
	path := e.path(string(digest))
	if earlier, err := stored(path, nil, trust.ParseDossier); err == nil {
		found.Evidence = trust.With(found.Evidence, earlier.Evidence)
	}
	return e.write(path, found)
}

// forget removes what was gathered for an artifact.
func (e *evidence) forget(digest string) error {
	e.keeping.Lock()
	defer e.keeping.Unlock()
	err := os.Remove(e.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ofRelease is the dossier of a release that is stored; now is as for artifact.
func (e *evidence) ofRelease(ctx context.Context, release model.Release, now bool) (trust.ReleaseDossier, error) {
	canonical, err := release.CanonicalForm()
	if err != nil {
		return trust.ReleaseDossier{}, err
	}
	path := e.path("release " + release.ID.String())
	err = e.gather(ctx, path, now, func(ctx context.Context) error {
		found, err := trust.GatherRelease(ctx, e.client, e.host, release.ID.Name, canonical)
		if err != nil {
			return err
		}
		e.keeping.Lock()
		defer e.keeping.Unlock()
		var earlier []signing.Evidence
		if was, err := stored(path, nil, trust.ParseReleaseDossier); err == nil {
			earlier = was.Evidence
		}
		return e.write(path, trust.ReleaseDossier{Canonical: canonical, Evidence: trust.With(found, earlier)})
	})
	return stored(path, err, trust.ParseReleaseDossier)
}

// gather does something for a file, once for all who ask at the same time, and not again for a while unless it is to be done now. Who wants it now
// is not given what others began to ask for before: what was signed meanwhile would be missing in that.
func (e *evidence) gather(ctx context.Context, path string, now bool, do func(context.Context) error) error {
	e.mu.Lock()
	fresh := time.Since(e.gathered[path]) < gatherInterval
	e.mu.Unlock()
	if fresh && !now {
		return nil
	}
	if now {
		e.gathering.Forget(path)
	}
	done := e.gathering.DoChan(path, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), gatherTimeout)
		defer cancel()
		err := do(ctx)
		if err != nil {
			e.log.Warn("signatures cannot be gathered; what was gathered before counts", "file", filepath.Base(path), "error", err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.gathered) >= maxGathered {
			clear(e.gathered)
		}
		e.gathered[path] = time.Now()
		return nil, err
	})
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (e *evidence) path(of string) string {
	return filepath.Join(e.dir, registry.DigestOf([]byte(of)).Hex()+".json")
}

func (e *evidence) write(path string, content any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return writeWhole(path, text)
}

// stored reads what was gathered; gatherErr is why nothing newer could be, and the error when there is nothing.
func stored[T any](path string, gatherErr error, parse func([]byte) (T, error)) (T, error) {
	var none T
	info, err := os.Stat(path)
	if err == nil && info.Size() > trust.MaxDossierBytes {
		err = fmt.Errorf("%s has %d bytes; the limit is %d", path, info.Size(), trust.MaxDossierBytes)
	}
	if err != nil {
		if gatherErr != nil {
			err = gatherErr
		}
		return none, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return none, err
	}
	return parse(text)
}

// ServeHTTP answers GET of /trust/artifacts/sha256:HEX and of /trust/releases/NAME@sha256:HEX with a dossier, and of /trust/descriptors/sha256:HEX with the
// descriptor set by which resources are read, in base64 as a JSON string. Whoever gets one verifies it: nothing that this distributor could say makes a signature out
// of none.
func (e *evidence) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this can only be read", http.StatusMethodNotAllowed)
		return
	}
	dossier, err := e.asked(r.Context(), strings.TrimPrefix(r.URL.Path, evidencePrefix))
	switch {
	case errors.Is(err, model.ErrInvalid):
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	case errors.Is(err, model.ErrNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err != nil:
		e.log.Error("evidence cannot be given", "path", r.URL.Path, "error", err)
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(dossier) // a client that has gone needs no answer
}

func (e *evidence) asked(ctx context.Context, path string) (any, error) {
	if text, ok := strings.CutPrefix(path, "artifacts/"); ok {
		digest, err := registry.ParseDigest(text)
		if err != nil {
			return nil, model.Invalidf("", "", "ask for artifacts/sha256:HEX", "%v", err)
		}
		return e.artifact(ctx, digest, false)
	}
	if text, ok := strings.CutPrefix(path, "releases/"); ok {
		ref, err := model.ParseReleaseRef(text)
		if err != nil {
			return nil, err
		}
		if !ref.Exact() {
			return nil, model.Invalidf("release/"+text, "", "give the whole hash", "which release is meant may change")
		}
		release, err := e.release(ctx, text)
		if err != nil {
			return nil, err
		}
		return e.ofRelease(ctx, release, false)
	}
	if text, ok := strings.CutPrefix(path, "descriptors/"); ok {
		if err := model.ValidateDigest("", "descriptors", text); err != nil {
			return nil, err
		}
		return e.descriptors(ctx, text)
	}
	return nil, &model.Error{Kind: model.ErrNotFound, Message: "there is nothing here", Next: "ask for artifacts/sha256:HEX, releases/NAME@sha256:HEX or descriptors/sha256:HEX"}
}
