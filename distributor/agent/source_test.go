package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy/envoytest"
)

// source is a distributor as its protocols show it, for one node: an MCP source with full state, a report service, and
// modules by digest. It runs on real connections, and can be stopped and started again on the same addresses.
type source struct {
	mcpv1.UnimplementedResourceSourceServer
	waftv1.UnimplementedReportServiceServer
	t    testing.TB
	node string

	grpcAddress, httpAddress string
	grpc                     *grpc.Server
	http                     *http.Server

	mu      sync.Mutex
	modules map[string][]byte
	// dossiers by what is asked for: artifacts/sha256:HEX.
	dossiers    map[string][]byte
	collections map[string][]*mcpv1.Resource
	version     int
	changed     chan struct{} // closed and replaced with each change
	nacks       []string
	acks        int
	reports     []*waftv1.ReportRequest
	interval    time.Duration
	retry       int64
	generation  int64
	// unavailable: modules are not given out.
	unavailable bool
	fetches     int
	// held are modules of which nothing comes, by digest.
	held map[string]*heldPull
}

// heldPull is a module whose pulls wait.
type heldPull struct {
	once            sync.Once
	begun, released chan struct{}
}

// hold has pulls of a module wait. begun is closed when the first one waits.
func (s *source) hold(module *waftv1.ModuleRef) (begun <-chan struct{}, release func()) {
	h := &heldPull{begun: make(chan struct{}), released: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[module.GetDigest()] = h
	release = sync.OnceFunc(func() { close(h.released) })
	s.t.Cleanup(release)
	return h.begun, release
}

func newSource(t testing.TB, node string) *source {
	t.Helper()
	s := &source{
		t: t, node: node, modules: map[string][]byte{}, dossiers: map[string][]byte{}, collections: map[string][]*mcpv1.Resource{},
		held: map[string]*heldPull{}, changed: make(chan struct{}), interval: 50 * time.Millisecond, grpcAddress: "127.0.0.1:0", httpAddress: "127.0.0.1:0",
	}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *source) start() {
	s.t.Helper()
	g, err := net.Listen("tcp", s.grpcAddress)
	if err != nil {
		s.t.Fatal(err)
	}
	h, err := net.Listen("tcp", s.httpAddress)
	if err != nil {
		s.t.Fatal(err)
	}
	s.grpcAddress, s.httpAddress = g.Addr().String(), h.Addr().String()
	rpc, web := grpc.NewServer(), &http.Server{Handler: http.HandlerFunc(s.serveModule)}
	mcpv1.RegisterResourceSourceServer(rpc, s)
	waftv1.RegisterReportServiceServer(rpc, s)
	s.grpc, s.http = rpc, web
	// A test that ends at once stops them before these run.
	go func() { _ = rpc.Serve(g) }()
	go func() { _ = web.Serve(h) }()
}

func (s *source) stop() {
	if s.grpc == nil {
		return
	}
	s.grpc.Stop()
	_ = s.http.Close()
	s.grpc = nil
}

func (s *source) serveModule(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(r.URL.Path, evidencePath); ok {
		s.mu.Lock()
		text, found := s.dossiers[name]
		s.mu.Unlock()
		if !found {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(text)
		return
	}
	digest, ok := strings.CutPrefix(r.URL.Path, "/v2/"+ModulesRepository+"/blobs/")
	s.mu.Lock()
	content, found := s.modules[digest]
	unavailable := s.unavailable
	s.fetches++
	held := s.held[digest]
	s.mu.Unlock()
	if held != nil && r.Method == http.MethodGet {
		held.once.Do(func() { close(held.begun) })
		select {
		case <-held.released:
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case unavailable:
		http.Error(w, "away", http.StatusServiceUnavailable)
	case !ok || !found:
		http.NotFound(w, r)
	default:
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Header().Set("Docker-Content-Digest", digest)
		if r.Method == http.MethodGet {
			_, _ = w.Write(content)
		}
	}
}

// EstablishResourceStream sends the full state of each collection that the sink asks for, now and when it changes.
func (s *source) EstablishResourceStream(stream grpc.BidiStreamingServer[mcpv1.RequestResources, mcpv1.Resources]) error {
	requests := make(chan *mcpv1.RequestResources)
	go func() {
		defer close(requests)
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			requests <- r
		}
	}()
	sent := map[string]int{}
	waiting := map[string]bool{} // for an answer
	var asked []string
	for {
		s.mu.Lock()
		version, changed := s.version, s.changed
		var messages []*mcpv1.Resources
		for _, name := range asked {
			if at, ok := sent[name]; (!ok || at != version) && !waiting[name] {
				messages = append(messages, &mcpv1.Resources{
					SystemVersionInfo: fmt.Sprint(version), Collection: name, Resources: s.collections[name], Nonce: fmt.Sprint(name, version),
				})
				sent[name], waiting[name] = version, true
			}
		}
		s.mu.Unlock()
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		select {
		case r, ok := <-requests:
			if !ok {
				return nil
			}
			if r.GetResponseNonce() == "" {
				asked = append(asked, r.GetCollection())
				continue
			}
			waiting[r.GetCollection()] = false
			if r.GetErrorDetail() != nil {
				s.mu.Lock()
				s.nacks = append(s.nacks, r.GetCollection()+": "+r.GetErrorDetail().GetMessage())
				s.mu.Unlock()
			} else {
				s.mu.Lock()
				s.acks++
				s.mu.Unlock()
			}
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}

// Report keeps what the node says.
func (s *source) Report(stream grpc.BidiStreamingServer[waftv1.ReportRequest, waftv1.ReportResponse]) error {
	requests := make(chan *waftv1.ReportRequest)
	go func() {
		defer close(requests)
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			requests <- r
		}
	}()
	told := int64(-1)
	for {
		s.mu.Lock()
		response, changed := &waftv1.ReportResponse{StatisticsInterval: durationpb.New(s.interval), Retry: s.retry}, s.changed
		s.mu.Unlock()
		if response.GetRetry() != told {
			told = response.GetRetry()
			if err := stream.Send(response); err != nil {
				return err
			}
		}
		select {
		case r, ok := <-requests:
			if !ok {
				return nil
			}
			s.mu.Lock()
			s.reports = append(s.reports, r)
			s.mu.Unlock()
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}

// change changes what the source has and tells its streams.
func (s *source) change(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.version++
	close(s.changed)
	s.changed = make(chan struct{})
}

// module is a module that the source gives out.
func (s *source) module(content []byte) *waftv1.ModuleRef {
	digest := digestOf(content)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.modules[digest] = content
	return &waftv1.ModuleRef{Digest: digest, Artifact: digest, Size: int64(len(content)), Reference: "localhost/guest:1"}
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// give gives the node a chain, with the next generation, and returns its hash.
func (s *source) give(filters ...*waftv1.Filter) string {
	s.t.Helper()
	s.mu.Lock()
	s.generation++
	generation := s.generation
	s.mu.Unlock()
	return s.giveGeneration(generation, filters...)
}

func (s *source) giveGeneration(generation int64, filters ...*waftv1.Filter) string {
	s.t.Helper()
	given := &waftv1.Chain{Generation: generation}
	var resources []*mcpv1.Resource
	var content []byte
	for _, f := range filters {
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(f)
		if err != nil {
			s.t.Fatal(err)
		}
		content = append(content, raw...)
		resources = append(resources, resource(s.t, f.GetName(), digestOf(raw), f))
		given.Filters = append(given.Filters, &waftv1.FilterVersion{Name: f.GetName(), Version: digestOf(raw)})
	}
	given.Hash = digestOf(content)
	s.change(func() {
		s.collections[model.CollectionFilters] = resources
		s.collections[model.CollectionChains] = []*mcpv1.Resource{resource(s.t, s.node, fmt.Sprint(given.GetHash(), generation), given)}
	})
	return given.GetHash()
}

func (s *source) prefetch(modules ...*waftv1.ModuleRef) {
	s.t.Helper()
	var resources []*mcpv1.Resource
	for _, m := range modules {
		resources = append(resources, resource(s.t, m.GetDigest(), m.GetDigest(), &waftv1.Prefetch{Module: m}))
	}
	s.change(func() { s.collections[model.CollectionPrefetch] = resources })
}

func resource(t testing.TB, name, version string, body proto.Message) *mcpv1.Resource {
	t.Helper()
	packed, err := anypb.New(body)
	if err != nil {
		t.Fatal(err)
	}
	return &mcpv1.Resource{Metadata: &mcpv1.Metadata{Name: name, Version: version}, Body: packed}
}

// said are the reports so far.
func (s *source) said() []*waftv1.ReportRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.reports)
}

// lastStanding is the last report about a chain; nil when there is none.
func (s *source) lastStanding() *waftv1.ChainReport {
	for _, r := range slices.Backward(s.said()) {
		if c := r.GetChain(); c != nil {
			return c
		}
	}
	return nil
}

// await waits for a report about a chain.
func (s *source) await(hash string, state waftv1.ChainState) *waftv1.ChainReport {
	s.t.Helper()
	var last *waftv1.ChainReport
	envoytest.Eventually(s.t, fmt.Sprintf("%s is %s", hash, state), func(context.Context) error {
		if last = s.lastStanding(); last.GetHash() != hash || last.GetState() != state {
			return fmt.Errorf("the last report is %v", last)
		}
		return nil
	})
	return last
}

// awaitServing is await that also waits for what Envoy is known to serve: nobody knows that while a busy machine leaves Envoy without an answer.
func (s *source) awaitServing(hash string, state waftv1.ChainState, serving string) *waftv1.ChainReport {
	s.t.Helper()
	var last *waftv1.ChainReport
	envoytest.Eventually(s.t, fmt.Sprintf("%s is %s, and %s serves", hash, state, serving), func(context.Context) error {
		if last = s.lastStanding(); last.GetHash() != hash || last.GetState() != state || last.GetServingHash() != serving {
			return fmt.Errorf("the last report is %v", last)
		}
		return nil
	})
	return last
}

// states are the states that were reported of a chain, in order, without repeats.
func (s *source) states(hash string) []waftv1.ChainState {
	var states []waftv1.ChainState
	for _, r := range s.said() {
		if c := r.GetChain(); c.GetHash() == hash && (len(states) == 0 || states[len(states)-1] != c.GetState()) {
			states = append(states, c.GetState())
		}
	}
	return states
}

// statistics are the last ones.
func (s *source) statistics() *waftv1.Statistics {
	for _, r := range slices.Backward(s.said()) {
		if c := r.GetStatistics(); c != nil {
			return c
		}
	}
	return nil
}

// discard is where bodies go that nobody reads.
func discard(body io.ReadCloser) {
	_, _ = io.Copy(io.Discard, body)
	_ = body.Close()
}
