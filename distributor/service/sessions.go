package service

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// Limits of what a node may say.
const (
	// MaxFetched is how many digests a list of fetched modules may hold.
	MaxFetched = 4096
	// MaxUnfetched is how many modules that could not be fetched are kept of a node: far more than a chain has of them, and little in memory.
	MaxUnfetched = 64
	// MaxFetchReason is how many bytes are kept of why a module could not be fetched.
	MaxFetchReason = 1024
	// MaxReportReason is how many bytes of a reason are kept.
	MaxReportReason = 4096
	// MaxReportHash is the length of a hash or digest, sha256:HEX, in bytes; a longer one is none, and is not kept.
	MaxReportHash = len("sha256:") + 64
	// MaxReportStep is how many bytes of a step are kept.
	MaxReportStep = 64
	// MaxReportSecret is how many bytes what names a secret may have: its kind, a colon and the longest path.
	MaxReportSecret = 8 + model.MaxSecretFile // a kept secret has less: its layer, its name and a number
	// maxGeneration is the highest generation that a node is believed to have seen.
	maxGeneration = math.MaxInt64 / 2
)

// NodeHello is how a node introduces itself at the start of a stream.
type NodeHello struct {
	// ID is required.
	ID     string
	Labels map[string]string
	// Reports is true for a report stream, false for a stream that carries collections only. A node may have one of each.
	Reports bool
	// EnvoyVersion is MAJOR.MINOR.PATCH; EnvoyBuild is what `envoy --version` prints. Both may be empty, for a stream that
	// does not know; what is known from another stream then stands.
	EnvoyVersion string
	EnvoyBuild   string
	AgentVersion string
	// Dialect is as in model.Node. Read of report streams only.
	Dialect string
	// Splits: it can run two chains side by side. Read of report streams only.
	Splits bool
	// Resources is as in model.Node. Of a stream of collections it is that the node may ask for them, and it counts while no report stream of the node
	// has said anything.
	Resources bool
	// Takes is as in model.Node. Read of report streams only.
	Takes model.Takes
	// Secrets is as in model.Node; of a stream of collections as Resources is.
	Secrets bool
	// KeptSecrets is as in model.Node. Read of report streams only.
	KeptSecrets bool
	// Generation is the highest generation of a chain that the node has seen; 0 for none. The next assignment gets a higher
	// one, so that a store that was set back to a backup is not taken for old news.
	Generation int64
	// Replica vouches for the node; empty: this one. Connect fills it in, from its context (ByReplica).
	Replica string
}

// Directive tells a node how to report.
type Directive struct {
	// StatisticsInterval is how often to send statistics; 0 means not at all.
	StatisticsInterval time.Duration
	// Retry is raised when the node should try a rejected chain once more.
	Retry int64
	// Statistics are the names of Envoy's that it should report, beside what it always does. They are not to be changed.
	Statistics []string
}

func (d Directive) equal(other Directive) bool {
	return d.StatisticsInterval == other.StatisticsInterval && d.Retry == other.Retry && slices.Equal(d.Statistics, other.Statistics)
}

// ChainReport says where a node stands with one rendered chain.
type ChainReport struct {
	// Chain is its hash.
	Chain string
	State model.ChainState
	// Reason, for rejected and degraded, is in Envoy's own words where it gave one. For the states on the way it says what
	// holds the node up; empty when nothing does.
	Reason string
	// Final: the rejection holds for this Envoy build and chain.
	Final bool
	// Step that said so: fetch, trust, secrets, probe, load, swap, serve.
	Step string
	// Serving is the hash of the chain that Envoy serves now; empty when none.
	Serving string
	// Generation of the assignment that the report is about; 0 when the node cannot tell.
	Generation int64
	// Secrets are as in model.LedgerEntry.
	Secrets map[string]string
}

// Equal says whether both say the same.
func (r ChainReport) Equal(o ChainReport) bool {
	return r.Chain == o.Chain && r.State == o.State && r.Reason == o.Reason && r.Final == o.Final && r.Step == o.Step &&
		r.Serving == o.Serving && r.Generation == o.Generation && maps.Equal(r.Secrets, o.Secrets)
}

// Session is one stream of one node. Its methods may be called concurrently, and do nothing once it is closed. A second
// stream of the same kind for the same node closes the first: it is a reconnect whose end has not been noticed.
type Session struct {
	service    *Service
	node       *node
	reports    bool
	directives chan Directive
	done       chan struct{}
	// labels are those that the stream says the node has: the map of the node's row, where they are the same. They are not to be changed.
	labels map[string]string
	// Service.mu guards what follows; closed is changed under node.counts.mu, too, and may be read under either.
	closed bool
	last   Directive
	// alert is called when a directive is there, or the session is closed; nil: nobody is.
	alert func()
}

// Connect begins a session. The node's row is made when it connects for the first time; a node that joins then gets what
// rollouts gave to its like. The adapter must Close the session when its stream ends, and end the stream when Done says so.
func (s *Service) Connect(ctx context.Context, hello NodeHello) (*Session, error) {
	if err := model.ValidateNodeID("", "node", hello.ID); err != nil {
		return nil, err
	}
	object := "node/" + hello.ID
	if err := model.ValidateLabels(object, "labels", hello.Labels); err != nil {
		return nil, err
	}
	if hello.Generation < 0 || hello.Generation > maxGeneration {
		return nil, model.Invalidf(object, "generation", "send the highest generation that was seen, or 0", "%d is out of range", hello.Generation)
	}
	for field, value := range map[string]string{"envoy_version": hello.EnvoyVersion, "envoy_build": hello.EnvoyBuild, "agent_version": hello.AgentVersion} {
		if len(value) > maxVersion {
			return nil, model.Invalidf(object, field, "shorten it", "is longer than %d bytes", maxVersion)
		}
	}
	if hello.Dialect == model.DialectApplication {
		if err := checkCollections(object, hello.Takes.Collections); err != nil {
			return nil, err
		}
	}

	s.enter()
	defer s.leave()
	if err := s.ready(); err != nil {
		return nil, err
	}
	now := s.now()
	n := s.nodes[hello.ID]
	if n == nil {
		if len(s.nodes) >= MaxNodes {
			return nil, &model.Error{Kind: model.ErrUnavailable, Object: object,
				Message: fmt.Sprintf("there are %d nodes already, which is the most this distributor keeps", MaxNodes), Next: "check that nodes keep their ids"}
		}
		n = newNode(model.Node{ID: hello.ID, FirstSeen: s.stamp(), After: s.newest()})
		s.nodes[hello.ID] = n
		s.fleet++
		s.mark(n, 0)
		s.log.Info("node connected for the first time", "node", hello.ID, "labels", hello.Labels)
	}
	hello.Replica = replicaOf(ctx)
	s.introduce(n, hello)

	for other := range n.sessions {
		if other.reports == hello.Reports {
			s.closeSession(other)
		}
	}
	session := &Session{service: s, node: n, reports: hello.Reports, directives: make(chan Directive, 1), done: make(chan struct{}), labels: hello.Labels}
	if maps.Equal(hello.Labels, n.row.Labels) {
		session.labels = n.row.Labels
	}
	n.opened(session)
	s.judge(n)
	n.lastSeen = now
	s.back(n)
	if hello.Reports {
		session.last = s.directive(n)
		session.directives <- session.last
	}
	if len(n.row.Assigned) == 0 {
		s.joiners[n] = struct{}{}
		if n.joinAfter.IsZero() {
			n.joinAfter = time.Now().Add(joinDelay)
		}
		if !n.row.Reports {
			s.drive.wake(joinDelay)
		}
	}
	s.drive.wake(reportDelay)
	return session, nil
}

// joinDelay is how long a new node that has only a stream of collections waits for its baseline: an agent opens its report
// stream beside it, and only there says which Envoy it has.
const joinDelay = 2 * time.Second

// maxVersion bounds versions and builds, in bytes.
const maxVersion = 512

// introduce takes over what a hello says; mu is held.
func (s *Service) introduce(n *node, hello NodeHello) {
	changed := false
	set := func(field *string, value string) {
		if value != "" && *field != value {
			*field, changed = value, true
		}
	}
	set(&n.row.EnvoyVersion, hello.EnvoyVersion)
	set(&n.row.EnvoyBuild, hello.EnvoyBuild)
	set(&n.row.AgentVersion, hello.AgentVersion)
	set(&n.row.Replica, cmp.Or(hello.Replica, s.replica))
	// A stream of collections alone may know no labels; then those of the report stream stand.
	if (hello.Reports || len(hello.Labels) > 0) && !maps.Equal(n.row.Labels, hello.Labels) {
		n.row.Labels, changed = maps.Clone(hello.Labels), true
		s.fleet++
	}
	if hello.Reports && !n.row.Reports {
		n.row.Reports, changed = true, true
	}
	if hello.Reports && n.row.Dialect != hello.Dialect {
		n.row.Dialect, changed = hello.Dialect, true
	}
	switch {
	case hello.Reports && hello.Dialect == model.DialectApplication:
		changed = introduceApplication(&n.row, hello) || changed
	case hello.Reports && hello.Dialect != "" && n.row.AgentVersion != "":
		n.row.AgentVersion, changed = "", true // it had an agent before
	}
	if hello.Reports && n.row.Splits != hello.Splits {
		n.row.Splits, changed = hello.Splits, true
		if n.row.Split != (model.NodeSplit{}) {
			s.renderAgain(n)
		}
	}
	if (hello.Reports || !n.row.Reports) && n.row.Resources != hello.Resources {
		n.row.Resources, changed = hello.Resources, true
	}
	if hello.Reports && !n.row.Takes.Equal(hello.Takes) {
		n.row.Takes, changed = hello.Takes, true
	}
	if (hello.Reports || !n.row.Reports) && n.row.Secrets != hello.Secrets {
		n.row.Secrets, changed = hello.Secrets, true
	}
	if hello.Reports && n.row.KeptSecrets != hello.KeptSecrets {
		n.row.KeptSecrets, changed = hello.KeptSecrets, true
		s.hub.nodeChanged(n.row.ID) // its other stream may have asked for them already
	}
	if hello.Generation > n.row.Generation {
		s.log.Warn("node has seen a newer generation than the store; going on from the node's",
			"node", n.row.ID, "seen", hello.Generation, "stored", n.row.Generation)
		n.row.Generation, changed = hello.Generation+1, true
	}
	if changed {
		s.mark(n, 0)
	}
}

// Fetched says which modules are on the node's disk, verified, and which could not be fetched to it yet, and why: the whole of both, by digest, each time.
func (x *Session) Fetched(digests []string, unfetched map[string]string) {
	if len(digests) > MaxFetched {
		digests = digests[:MaxFetched]
	}
	fetched := make(map[string]struct{}, len(digests))
	for _, digest := range digests {
		if len(digest) <= MaxReportHash {
			fetched[digest] = struct{}{}
		}
	}
	unfetched = boundUnfetched(unfetched)
	x.told(reportDelay, func(_ *Service, n *node) { n.fetched, n.unfetched = fetched, unfetched })
}

// boundUnfetched keeps as many reasons as a node may give, each clipped, of what are digests: the first of those, so that they are the same ones each time.
// It gives nil where there are none.
func boundUnfetched(reasons map[string]string) map[string]string {
	var digests []string
	for digest := range reasons {
		if model.ValidateDigest("", "unfetched", digest) == nil {
			digests = append(digests, digest)
		}
	}
	if len(digests) == 0 {
		return nil
	}
	slices.Sort(digests)
	digests = digests[:min(len(digests), MaxUnfetched)]
	kept := make(map[string]string, len(digests))
	for _, digest := range digests {
		kept[digest] = clip(reasons[digest], MaxFetchReason)
	}
	return kept
}

// Chain says where the node stands with a chain. What it says of another chain than the one it is to run, or of an earlier
// assignment, is stale and does not reach the ledger; which chain is serving counts always. A report with what cannot be a
// hash is ignored: it goes into the node's row, whose size is bounded.
func (x *Session) Chain(report ChainReport) {
	if len(report.Chain) > MaxReportHash || len(report.Serving) > MaxReportHash {
		return
	}
	report.Reason, report.Step = clip(report.Reason, MaxReportReason), clip(report.Step, MaxReportStep)
	x.told(reportDelay, func(s *Service, n *node) { s.report(n, report) })
}

// clip bounds what a node says, in bytes, and makes it text. What it gives does not keep what was cut off in memory.
func clip(text string, limit int) string {
	if len(text) > limit {
		text = strings.Clone(text[:limit])
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

func (s *Service) report(n *node, report ChainReport) {
	changed, delay := false, passingDelay
	if report.Serving != n.row.Serving {
		if n.row.Serving != "" {
			n.row.Previous = n.row.Serving
		}
		n.row.Serving, changed, delay = report.Serving, true, ledgerDelay
	}
	current := report.Chain != "" && report.Chain == n.row.Ledger.Chain && (report.Generation == 0 || report.Generation >= n.floor)
	if current && s.record(n, report) {
		changed = true
		switch report.State {
		case model.ChainServing, model.ChainDegraded, model.ChainRejected:
			delay = ledgerDelay
		}
	}
	if changed {
		s.markSaid(n, delay)
	}
}

// record puts a report about the chain that the node is to run into its ledger, and says whether that changed it.
func (s *Service) record(n *node, report ChainReport) bool {
	old := n.row.Ledger
	// A reason comes with the states on the way, too: why a node is slow is what an operator asks of a rollout that is stuck.
	entry := model.LedgerEntry{Chain: old.Chain, State: report.State, Step: report.Step, Reason: report.Reason, Times: old.Times, Secrets: report.Secrets}
	if report.State == model.ChainRejected || report.State == model.ChainDegraded {
		entry.Final = report.Final
	}
	if entry.State == old.State && entry.Step == old.Step && entry.Reason == old.Reason && entry.Final == old.Final && maps.Equal(entry.Secrets, old.Secrets) {
		return false
	}
	if _, said := old.Times[report.State]; !said {
		times := maps.Clone(old.Times)
		if times == nil {
			times = map[model.ChainState]time.Time{}
		}
		times[report.State] = s.stamp()
		entry.Times = times
	}
	n.row.Ledger = entry
	if entry.State == model.ChainRejected || entry.State == model.ChainDegraded {
		said := model.NodeError{Chain: entry.Chain, State: entry.State, Step: entry.Step, Reason: entry.Reason, At: s.stamp()}
		if last := n.row.LastError; last != nil && last.Chain == said.Chain && old.State == said.State && old.Step == said.Step && old.Reason == said.Reason {
			said.At = last.At // nothing but its secrets has changed
		}
		n.row.LastError = &said
	}
	return true
}

// Statistics are the node's counts since it began to serve a chain. They stay in memory.
func (x *Session) Statistics(stats model.Statistics) {
	if len(stats.Chain) > MaxReportHash {
		return
	}
	s, c := x.service, &x.node.counts
	now := s.stamp()
	c.mu.Lock()
	closed := x.closed
	if !closed {
		c.stats, c.came = stats.Bounded(), now
		c.told.Add(1)
	}
	c.mu.Unlock()
	if !closed {
		s.drive.wake(statisticsDelay)
	}
}

// EnvoyRestarted says that the node's Envoy came up again.
func (x *Session) EnvoyRestarted(at time.Time, reason string) {
	x.told(reportDelay, func(s *Service, n *node) {
		n.restarts++
		s.log.Warn("Envoy restarted", "node", n.row.ID, "at", at, "reason", clip(reason, MaxReportReason))
	})
}

// told changes the picture of the node, unless the session is closed, and wakes the drive loop where a rollout may care.
func (x *Session) told(delay time.Duration, change func(*Service, *node)) {
	s := x.service
	s.enter()
	defer s.leave()
	if x.closed {
		return
	}
	x.node.lastSeen = s.now()
	change(s, x.node)
	if s.anyRunning() {
		s.drive.wake(delay)
	}
}

// Directives gives what to tell the node: once at the beginning, then after each change; a slow reader gets the newest
// only. It is never closed: wait on Done as well.
func (x *Session) Directives() <-chan Directive { return x.directives }

// Done is closed when the session is: by Close, by a newer stream of the same kind, or because the service stops.
func (x *Session) Done() <-chan struct{} { return x.done }

// Alert has call called after each directive, and after Done has been closed, for who does not wait for them; what there is already is not told. It must not
// block, nor call the service.
func (x *Session) Alert(call func()) {
	s := x.service
	s.enter()
	defer s.leave()
	x.alert = call
}

// Close ends the session. It may be called more than once.
func (x *Session) Close() {
	s := x.service
	s.enter()
	defer s.leave()
	if x.closed {
		return
	}
	x.node.lastSeen = s.now()
	s.closeSession(x)
	if s.anyRunning() {
		s.drive.wake(reportDelay)
	}
}

// closeSession closes a session; mu is held.
func (s *Service) closeSession(x *Session) {
	if x.closed {
		return
	}
	x.node.counts.mu.Lock()
	x.closed = true
	x.node.counts.mu.Unlock()
	x.node.ended(x)
	s.judge(x.node)
	close(x.done)
	if x.alert != nil {
		x.alert()
	}
}

// directive is what the node is to be told now; mu is held.
func (s *Service) directive(n *node) Directive {
	d := Directive{Retry: n.row.Retry, Statistics: n.duty.names}
	if n.duty.statistics {
		d.StatisticsInterval = s.statisticsEvery
	}
	return d
}

// direct tells the node's report stream what has changed for it; mu is held, so that nobody else sends.
func (s *Service) direct(n *node) {
	d := s.directive(n)
	for session := range n.sessions {
		if !session.reports || session.last.equal(d) {
			continue
		}
		session.last = d
		select {
		case <-session.directives:
		default:
		}
		session.directives <- d
		if session.alert != nil {
			session.alert()
		}
	}
}

// Offered says that a sink of the node has received and stored the chain (an ACK of its protocol). For a sink that sends no
// reports the ledger gets no further.
func (s *Service) Offered(nodeID, chain string) {
	s.enter()
	defer s.leave()
	n := s.nodes[nodeID]
	if s.ready() != nil || n == nil || chain == "" || n.row.Ledger.Chain != chain || n.row.Ledger.State != "" {
		return
	}
	if s.record(n, ChainReport{Chain: chain, State: model.ChainOffered}) {
		s.markSaid(n, offeredDelay)
	}
	if s.anyRunning() {
		s.drive.wake(reportDelay)
	}
}

// Refused says that a sink of the node could not take a collection (a NACK of its protocol), and why. It was sent the collection for the chain of that hash; empty
// is for none. For a sink that sends no reports this is the ledger's last word on that chain; one that reports says more by its reports. What is refused late,
// when the node was given another chain, says nothing of that one.
func (s *Service) Refused(nodeID, chain, collection, reason string) {
	reason = clip(reason, MaxReportReason)
	s.enter()
	defer s.leave()
	n := s.nodes[nodeID]
	if s.ready() != nil || n == nil {
		return
	}
	s.log.Warn("sink refused a collection", "node", nodeID, "chain", chain, "collection", collection, "reason", reason)
	if n.row.Reports || chain == "" || n.row.Ledger.Chain != chain {
		return
	}
	if s.record(n, ChainReport{State: model.ChainRejected, Step: "receive", Reason: reason}) {
		s.markSaid(n, ledgerDelay)
	}
	if s.anyRunning() {
		s.drive.wake(reportDelay)
	}
}
