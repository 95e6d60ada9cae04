package distributor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"path"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/cluster"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/registry"
)

// What replicas ask each other for over HTTP, beside what clients ask for.
const (
	// peerRegistry is before a path of the registry's API: what the replica that is asked has itself.
	peerRegistry = "/registry"
	// peerNeeded is the list of the modules that every replica is to have, of the replica that leads: those that nodes need, and those of releases
	// that were pushed to its own registry, which may be rolled out when it has gone.
	peerNeeded = "/needed"
	// peerCollected is told what is about to go from the registry of another replica.
	peerCollected = "/collected"
	// maxCollectedBytes bounds what it is told.
	maxCollectedBytes = 64 << 20
	// maxNeededBytes bounds that list.
	maxNeededBytes = 64 << 20
	// neededTimeout bounds asking for it.
	neededTimeout = 10 * time.Second
)

// peerHandler is what other replicas are served over HTTP. local is what clients are served, of this replica itself.
func (r *replicas) peerHandler(t *terms, mods *modules, embedded, local http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(peerRegistry+"/", http.StripPrefix(peerRegistry, embedded))
	mux.HandleFunc("GET "+peerNeeded, func(w http.ResponseWriter, req *http.Request) {
		modules, err := t.needed(req.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		modules = append(modules, mods.pushedHere()...)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(modules) // a replica that has gone needs no answer
	})
	mux.HandleFunc("POST "+peerCollected, func(w http.ResponseWriter, req *http.Request) {
		text, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxCollectedBytes))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		told, err := parseCollected(text)
		if err != nil {
			http.Error(w, "what is said to go cannot be read, so none of it is recorded: "+err.Error(), http.StatusBadRequest)
			return
		}
		if err := t.recordCollected(told.Replica)(req.Context(), told.Artifacts); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		if !r.leads() {
			noLeader(w, req, errors.New("the replica that was asked does not lead"))
			return
		}
		local.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), relayedRequest{}, true)))
	})
	return mux
}

// relayedRequest marks the context of a request that has come by another replica.
type relayedRequest struct{}

func byReplica(r *http.Request) bool { return r.Context().Value(relayedRequest{}) != nil }

// noLeader answers what only a leader could.
func noLeader(w http.ResponseWriter, r *http.Request, err error) {
	message := fmt.Sprintf("no replica leads, or the one that does cannot be reached; try again in a moment (%v)", err)
	w.Header().Set("Retry-After", "1")
	if strings.HasPrefix(r.URL.Path, apiPrefix) {
		ociError(w, http.StatusServiceUnavailable, "UNAVAILABLE", message)
		return
	}
	http.Error(w, message, http.StatusServiceUnavailable)
}

// onLeader serves requests by local where this replica leads, and else has the one that leads answer them.
func (r *replicas) onLeader(local http.Handler) http.Handler {
	proxy := &httputil.ReverseProxy{
		Transport: r.peers,
		Rewrite: func(p *httputil.ProxyRequest) {
			view, _ := r.member.View()
			p.Out.URL.Scheme, p.Out.URL.Host = "http", view.Leader.ID
			p.Out.Header.Del(authorizationKey) // who asks was found out here
		},
		ErrorHandler: noLeader,
		ErrorLog:     nil,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if r.leads() {
			local.ServeHTTP(w, req)
			return
		}
		view, _ := r.member.View()
		if view.Leader.ID == "" || view.Leader.ID == r.member.Self().ID {
			noLeader(w, req, errors.New("it is being elected"))
			return
		}
		if r.relay.Lost() {
			w.Header().Set("Connection", "close") // by another connection the client may reach another replica
			noLeader(w, req, errors.New("this replica does not reach it"))
			return
		}
		ctx, done := r.relay.Linked(req.Context())
		defer done()
		proxy.ServeHTTP(w, req.WithContext(ctx))
	})
}

// modules serves what nodes fetch: from the disk of this replica what is there, so that nodes get it while nobody leads, and the rest by the leader. What an
// Envoy without an agent fetches goes by the leader, too: it offers a chain once it knows that its modules are fetched.
func (r *replicas) modules(local *modules) http.Handler {
	leader := r.onLeader(local)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !r.leads() && req.Header.Get(envoy.NodeHeader) == "" {
			if digest, err := registry.ParseDigest(path.Base(req.URL.Path)); err == nil && strings.HasPrefix(path.Clean(req.URL.Path), apiPrefix+modulesName+"/") {
				if f, _, err := local.client.Cache().Open(digest); err == nil {
					_ = f.Close() // only looked at
					local.ServeHTTP(w, req)
					return
				}
			}
		}
		leader.ServeHTTP(w, req)
	})
}

// needed are the modules that nodes need, as the replica that leads says.
func (r *replicas) needed(ctx context.Context, t *terms) ([]model.Module, error) {
	if r.leads() {
		return t.needed(ctx)
	}
	view, _ := r.member.View()
	unavailable := &model.Error{Kind: model.ErrUnavailable, Object: "waft serve", Message: "no replica says which modules nodes need", Next: "try again in a moment"}
	if view.Leader.ID == "" || view.Leader.ID == r.member.Self().ID {
		return nil, unavailable
	}
	ctx, cancel := context.WithTimeout(ctx, neededTimeout)
	defer cancel()
	answer, err := r.ask(ctx, http.MethodGet, view.Leader, peerNeeded, nil)
	if err != nil {
		unavailable.Cause = err
		return nil, unavailable
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, unavailable
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxNeededBytes+1))
	if err != nil {
		unavailable.Cause = err
		return nil, unavailable
	}
	modules, err := parseNeeded(text)
	if err != nil {
		unavailable.Message, unavailable.Cause = "the list of the modules that nodes need cannot be read: "+err.Error(), err
		return nil, unavailable
	}
	return modules, nil
}

// parseNeeded reads the list of the replica that leads; null is an empty one. A part of it is not taken for all: what is not in it may be removed here.
func parseNeeded(text []byte) ([]model.Module, error) {
	if len(text) > maxNeededBytes {
		return nil, fmt.Errorf("it is longer than %d bytes", maxNeededBytes)
	}
	var modules []model.Module
	if err := json.Unmarshal(text, &modules); err != nil {
		return nil, err
	}
	for i, m := range modules {
		at := fmt.Sprintf("[%d]", i)
		if err := model.ValidateDigest(at, "digest", m.Digest); err != nil { // it becomes part of a path
			return nil, err
		}
		if m.Artifact != "" {
			if err := model.ValidateDigest(at, "artifact", m.Artifact); err != nil {
				return nil, err
			}
		}
		if m.Size < 0 {
			return nil, fmt.Errorf("%s: a size of %d bytes", at, m.Size)
		}
	}
	return modules, nil
}

// collectedElsewhere is what the replica that leads is told of what goes from the registry of another one.
type collectedElsewhere struct {
	Replica   string                      `json:"replica"`
	Artifacts []service.CollectedArtifact `json:"artifacts"`
}

// parseCollected reads what another replica says of what goes from its registry. A part of it is not taken for all: once it is recorded all of it goes. What is taken goes into the
// audit log as it stands, where each entry is to be about something that a registry can have.
func parseCollected(text []byte) (collectedElsewhere, error) {
	var told collectedElsewhere
	if err := json.Unmarshal(text, &told); err != nil {
		return collectedElsewhere{}, err
	}
	if told.Replica == "" {
		return collectedElsewhere{}, errors.New("it does not say from which replica")
	}
	for i, a := range told.Artifacts {
		at := fmt.Sprintf("artifacts[%d]", i)
		if a.Repository != "" {
			if name, err := registry.ParseReference("registry.example/" + a.Repository); err != nil || name.Repository != a.Repository {
				return collectedElsewhere{}, fmt.Errorf("%s: %.100q is no repository", at, a.Repository)
			}
		}
		if a.Digest != "" {
			if err := model.ValidateDigest(at, "digest", a.Digest); err != nil {
				return collectedElsewhere{}, err
			}
			if a.Repository == "" {
				return collectedElsewhere{}, fmt.Errorf("%s: %s is of no repository", at, a.Digest)
			}
		}
		if a.Bytes < 0 || a.Blobs < 0 || a.Unneeded < 0 {
			return collectedElsewhere{}, fmt.Errorf("%s: %d bytes, %d blobs and %s cannot be", at, a.Bytes, a.Blobs, a.Unneeded)
		}
	}
	return told, nil
}

// recordCollected has the replica that leads put into the audit log what is about to go from the registry of this one.
func (r *replicas) recordCollected(t *terms) func(context.Context, []service.CollectedArtifact) error {
	return func(ctx context.Context, gone []service.CollectedArtifact) error {
		self := r.member.Self()
		if r.leads() {
			return t.recordCollected(self.Name)(ctx, gone)
		}
		view, _ := r.member.View()
		if view.Leader.ID == "" || view.Leader.ID == self.ID {
			return fmt.Errorf("%w: it is being elected", errNotRecorded)
		}
		text, err := json.Marshal(collectedElsewhere{Replica: self.Name, Artifacts: gone})
		if err != nil {
			return err
		}
		answer, err := r.tell(ctx, http.MethodPost, view.Leader, peerCollected, http.Header{"Content-Type": {"application/json"}}, bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("%w: %w", errNotRecorded, err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusNoContent {
			return fmt.Errorf("%w: it answers %s", errNotRecorded, answer.Status)
		}
		return nil
	}
}

// ask sends a request without a body to another replica.
func (r *replicas) ask(ctx context.Context, method string, other cluster.Replica, path string, header http.Header) (*http.Response, error) {
	return r.tell(ctx, method, other, path, header, http.NoBody)
}

// tell sends a request to another replica.
func (r *replicas) tell(ctx context.Context, method string, other cluster.Replica, path string, header http.Header, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+other.ID+path, body)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	return r.peers.RoundTrip(req)
}

// everywhere reads the registry of this replica, and what is not there in those of the others: what was pushed while another one led is there.
type everywhere struct {
	own   http.RoundTripper
	crowd *replicas
}

// RoundTrip is http.RoundTripper's.
func (e *everywhere) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, err := e.own.RoundTrip(req)
	if err != nil || answer.StatusCode != http.StatusNotFound || req.Method != http.MethodGet && req.Method != http.MethodHead || e.crowd.member == nil {
		return answer, err
	}
	for _, other := range e.crowd.member.Others() {
		theirs, err := e.crowd.ask(req.Context(), req.Method, other, peerRegistry+req.URL.RequestURI(), req.Header)
		if err != nil {
			continue // it may have gone
		}
		if theirs.StatusCode < http.StatusMultipleChoices {
			_ = answer.Body.Close()
			theirs.Request = req
			return theirs, nil
		}
		_ = theirs.Body.Close()
	}
	return answer, nil
}
