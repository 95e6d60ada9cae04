package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waft-project/waft/distributor/delivery"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// Defaults of Config, and limits.
const (
	// DefaultStatisticsInterval is how often nodes in a running rollout send statistics.
	DefaultStatisticsInterval = time.Second
	// DefaultStartGrace is how long after a start rollouts wait for nodes to come back before they are observed without them.
	DefaultStartGrace = 10 * time.Second
	// MaxNodes is how many nodes the distributor keeps rows of.
	MaxNodes = 100_000
	// loadPage is how many rows one read takes at the start.
	loadPage = 500
	// closeTimeout bounds the last writes when Run ends.
	closeTimeout = 5 * time.Second
)

// Config is what a Service needs. Store and Modules are required; the zero value of each other field has a default.
type Config struct {
	Store   Store
	Modules Modules
	// Messages understands the types of resources; nil: none is known, and all are opaque.
	Messages Messages
	// InlineSecrets: private keys and the like may stand in resources. False: they are refused, since everybody who may see anything would see them.
	InlineSecrets bool
	// Snapshots looks at what Envoys over ADS are given of resources; nil: they are given none.
	Snapshots Snapshots
	// Gates reads gates whose answer is elsewhere; nil: there are none, and a rollout with one is refused.
	Gates Gates
	// Expressions judges gates on statistics; nil: a rollout with one is refused.
	Expressions Expressions
	// Freeze gives the windows in which no rollout moves on, as they are now; nil: none.
	Freeze func() []model.FreezeWindow
	// MaxNotServing is the cap on nodes that are on their way or not serving, for every rollout beside its own; the zero value: none.
	MaxNotServing model.Cap
	// Trust is asked before a release is rolled out; nil allows all.
	Trust Trust
	// Roles is asked before anything is changed; nil allows everybody everything.
	Roles Roles
	// Labels is asked whether nodes that are away may still have theirs; nil: they may.
	Labels Labels
	// Keys seal and open the values of kept secrets; nil: there are none, and no such secret can be set or rolled out.
	Keys Keys
	// Now is the clock that decisions are made by; nil means time.Now.
	Now func() time.Time
	// Log takes what an operator should know; nil discards it.
	Log *slog.Logger
	// Replica names this distributor in the rows of the nodes that it serves; empty means "waft".
	Replica string
	// StatisticsInterval is how often nodes in a running rollout send statistics; 0 means DefaultStatisticsInterval.
	StatisticsInterval time.Duration
	// StartGrace is how long after a start rollouts wait for the nodes to come back; 0 means DefaultStartGrace. A rollout
	// whose nodes are all back goes on at once.
	StartGrace time.Duration
	// ForgetNodesAfter is how long a node may be away, by what was watched of it, before its row is removed; 0 means DefaultForgetNodesAfter, negative never.
	ForgetNodesAfter time.Duration
	// KeepReleases is how many releases of a name stay although nothing needs them; 0 means DefaultKeepReleases, negative all.
	KeepReleases int
	// KeepRollouts is how many rollouts stay although nothing needs them; 0 means DefaultKeepRollouts, negative all.
	KeepRollouts int
	// Artifacts says what is in this process's registry; nil: nothing is.
	Artifacts Artifacts
	// CollectEvery is how often is looked for what may be removed; 0 means DefaultCollectEvery.
	CollectEvery time.Duration
	// Decided, when set, is told of each decision about a rollout that the fleet called for. The drive loop calls it and waits for it.
	Decided func(Decision)
}

// Decision is what one decision took.
type Decision struct {
	// Took is from the picture of the fleet to the last duty set, without Wrote.
	Took time.Duration
	// Wrote is how long the store took to keep the rollout; zero when there was nothing to keep.
	Wrote time.Duration
}

// Actor is who asks for a change, and why. Every change is kept with both.
type Actor struct {
	// Name is required: a person, a program.
	Name string
	// Reason may be empty.
	Reason string
}

func (a Actor) check(object string) error {
	if a.Name == "" {
		return model.Invalidf(object, "actor", "say who makes the change (metadata waft-actor)", "is empty")
	}
	if len(a.Name) > maxActor || len(a.Reason) > maxReason {
		return model.Invalidf(object, "actor", "shorten it", "name or reason is longer than %d or %d bytes", maxActor, maxReason)
	}
	return nil
}

func (a Actor) by() rollout.By { return rollout.By{Actor: a.Name, Reason: a.Reason} }

// Limits of an Actor, in bytes.
const (
	maxActor  = 256
	maxReason = 4096
)

// Service is the use cases. All methods may be called concurrently, from before Run until after it; until Run has read
// the store they give model.ErrUnavailable.
type Service struct {
	// maker makes collections; it has a lock of its own, which none is taken under.
	maker         delivery.Maker
	store         Store
	modules       Modules
	messages      Messages
	inlineSecrets bool
	snapshots     Snapshots
	gates         Gates
	artifacts     Artifacts
	expressions   Expressions
	freeze        func() []model.FreezeWindow
	maxNotServing model.Cap
	// frozenNow is the freeze that a person has put last; nil: none. mu guards it, and it is never changed, only replaced.
	frozenNow       *model.Freeze
	trust           Trust
	roles           Roles
	labels          Labels
	edition         any // of labels, by which nodes were judged last
	keys            Keys
	now             func() time.Time
	log             *slog.Logger
	replica         string
	statisticsEvery time.Duration
	startGrace      time.Duration
	forgetAfter     time.Duration
	keepReleases    int
	keepRollouts    int
	collectEvery    time.Duration

	// commands carries what operators ask for to the drive loop.
	commands chan func(context.Context)
	// stopped is closed when Run has ended.
	stopped chan struct{}
	drive   *waker // wakes the drive loop
	ledger  *waker // wakes the ledger
	hub     *hub
	schemas *schemas
	sealed  sealedValues
	// secretsRemoved is how often versions of kept secrets were removed, or were to be.
	secretsRemoved atomic.Int64
	// asking are the questions to gates that are under way.
	asking sync.WaitGroup
	// namesGone are names that the store says are taken, although no rollout of that name may be in memory: it was removed. As far as somebody has tried.
	namesGone map[string]struct{}
	// unsure are rollouts that may be in the store although storing them failed; the drive loop's own.
	unsure map[string]struct{}
	// decided is Config.Decided; wrote is what the step that is being taken has waited for the store, spent what the decisions of the round took
	// without it; the drive loop's own.
	decided      func(Decision)
	wrote, spent time.Duration

	// streams is taken before mu by what nodes' streams do (enter), so that at most one of them waits for mu: thousands come at once when
	// a wave moves, and a decision, or the ledger, would have to wait for all that came before it.
	streams sync.Mutex

	mu    sync.Mutex
	phase runPhase
	// startedAt is when the store was read; silence counts from it at the earliest.
	startedAt time.Time
	nodes     map[string]*node
	// fleet rises when a node is added or changes its labels, so that members of targets are looked for again.
	fleet int64
	// rollouts are all there are, newest first; those that have ended are kept without their nodes.
	rollouts []*entry
	// active are those that have not ended, oldest first.
	active   []*entry
	releases map[model.ReleaseID]model.Release
	// sets are the descriptor sets that have been read, by digest.
	sets map[string]MessageSet
	// effects are what ended rollouts have done, by their names, as far as somebody asked (readEffect).
	effects  map[string]effect
	chains   map[string]rendered
	verdicts map[string]error
	tally    Tally
	dirty    map[*node]struct{}
	joiners  map[*node]struct{}
	// undirected are the nodes that directLoop is to tell their duties, and directing wakes it.
	undirected map[*node]struct{}
	directing  chan struct{}
	// gone are the rows of nodes that were forgotten, by id, as long as the store may still have them.
	gone map[string]model.Node
}

type runPhase int

const (
	phaseNew runPhase = iota
	phaseLoading
	phaseReady
	phaseStopped
)

// New makes a Service; it does nothing until Run.
func New(config Config) (*Service, error) {
	if config.Store == nil || config.Modules == nil {
		return nil, errors.New("service: Config.Store and Config.Modules are required")
	}
	s := &Service{
		store: config.Store, modules: config.Modules, trust: config.Trust, roles: config.Roles, labels: config.Labels, gates: config.Gates, artifacts: config.Artifacts, freeze: config.Freeze, maxNotServing: config.MaxNotServing, now: config.Now, log: config.Log, replica: config.Replica,
		statisticsEvery: config.StatisticsInterval, startGrace: config.StartGrace,
		forgetAfter: config.ForgetNodesAfter, keepReleases: config.KeepReleases, keepRollouts: config.KeepRollouts, collectEvery: config.CollectEvery, decided: config.Decided,
		commands:  make(chan func(context.Context)),
		stopped:   make(chan struct{}),
		drive:     newWaker(),
		ledger:    newWaker(),
		hub:       newHub(),
		directing: make(chan struct{}, 1), undirected: map[*node]struct{}{},
		unsure:    map[string]struct{}{},
		nodes:     map[string]*node{},
		releases:  map[model.ReleaseID]model.Release{},
		sets:      map[string]MessageSet{},
		effects:   map[string]effect{},
		namesGone: map[string]struct{}{},
		chains:    map[string]rendered{},
		verdicts:  map[string]error{},
		tally:     Tally{Rollbacks: map[RollbackBy]int{}, Verdicts: map[VerdictCount]int{}},
		dirty:     map[*node]struct{}{},
		joiners:   map[*node]struct{}{},
		gone:      map[string]model.Node{},
	}
	s.schemas = newSchemas(config.Modules)
	if s.expressions = config.Expressions; s.expressions == nil {
		s.expressions = noExpressions{}
	}
	if s.messages = config.Messages; s.messages == nil {
		s.messages = noMessages{}
	}
	s.inlineSecrets = config.InlineSecrets
	if s.keys = config.Keys; s.keys == nil {
		s.keys = noKeys{}
	}
	if s.snapshots = config.Snapshots; s.snapshots == nil {
		s.snapshots = noSnapshots{}
	}
	if s.gates == nil {
		s.gates = noGates{}
	}
	if s.freeze == nil {
		s.freeze = func() []model.FreezeWindow { return nil }
	}
	if s.decided == nil {
		s.decided = func(Decision) {}
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.replica == "" {
		s.replica = "waft"
	}
	if s.statisticsEvery == 0 {
		s.statisticsEvery = DefaultStatisticsInterval
	}
	if s.startGrace == 0 {
		s.startGrace = DefaultStartGrace
	}
	if s.forgetAfter == 0 {
		s.forgetAfter = DefaultForgetNodesAfter
	}
	if s.keepReleases == 0 {
		s.keepReleases = DefaultKeepReleases
	}
	if s.keepRollouts == 0 {
		s.keepRollouts = DefaultKeepRollouts
	}
	if s.collectEvery == 0 {
		s.collectEvery = DefaultCollectEvery
	}
	return s, nil
}

// Run reads the store, then drives rollouts and writes the ledger until ctx ends; it returns nil then, and an error when
// the store cannot be read. It may be called once. When it returns, all sessions are closed and what nodes reported is
// written.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.phase != phaseNew {
		s.mu.Unlock()
		return errors.New("service: Run was called before")
	}
	s.phase = phaseLoading
	s.mu.Unlock()
	defer close(s.stopped)
	defer s.stop()

	if err := s.load(ctx); err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	s.asking.Go(func() { s.tryKeys(ctx) })
	ledgerCtx, stopLedger := context.WithCancel(context.Background())
	defer stopLedger()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.writeLedger(ledgerCtx)
	}()
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		s.collectLoop(ctx)
	}()
	directed := make(chan struct{})
	go func() {
		defer close(directed)
		s.directLoop(ctx)
	}()
	s.driveLoop(ctx)

	s.asking.Wait()
	s.stop()
	stopLedger()
	<-ended
	<-collected
	<-directed
	closeCtx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.flushAll(closeCtx)
}

// stamp is now as rows keep it: UTC, to be compared by the wall clock. Presence is measured with now itself, which a step
// of the system's clock does not move.
func (s *Service) stamp() time.Time { return s.now().Round(0).UTC() }

// enter takes mu for a stream; leave gives it back. Nobody who holds mu may enter.
func (s *Service) enter() {
	s.streams.Lock()
	s.mu.Lock()
}

func (s *Service) leave() {
	s.mu.Unlock()
	s.streams.Unlock()
}

// stop refuses further calls and closes sessions and watches. It may be called more than once.
func (s *Service) stop() {
	s.mu.Lock()
	s.phase = phaseStopped
	for _, n := range s.nodes {
		for session := range n.sessions {
			s.closeSession(session)
		}
	}
	s.mu.Unlock()
	s.hub.close()
}

// Ready is nil when the store has been read and calls are served.
func (s *Service) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready()
}

// ready is Ready under mu.
func (s *Service) ready() error {
	switch s.phase {
	case phaseReady:
		return nil
	case phaseStopped:
		return &model.Error{Kind: model.ErrUnavailable, Object: "waft serve", Message: "is stopping", Next: "try again in a moment"}
	default:
		return &model.Error{Kind: model.ErrUnavailable, Object: "waft serve", Message: "is starting: it has not read its store yet", Next: "try again in a moment"}
	}
}

// load reads everything that decisions need.
func (s *Service) load(ctx context.Context) error {
	var rollouts []*entry
	var disabled []model.Rollout
	for cursor := int64(0); ; {
		page, next, err := s.store.ListRollouts(ctx, cursor, loadPage)
		if err != nil {
			return err
		}
		for _, r := range page {
			e, err := newEntry(r, 0)
			if err != nil {
				return fmt.Errorf("rollout/%s: %w", r.Name, err)
			}
			if r.Disables != "" {
				disabled = append(disabled, r)
			}
			if !r.Phase.Ended() {
				// The list has no revisions; the few that run are read again.
				if e.state, e.revision, err = s.store.GetRollout(ctx, r.Name); err != nil {
					return err
				}
			}
			rollouts = append(rollouts, e)
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	var rows []model.Node
	for after := ""; ; {
		page, err := s.store.ListNodes(ctx, after, loadPage)
		if err != nil {
			return err
		}
		rows = append(rows, page...)
		if len(page) < loadPage {
			break
		}
		after = page[len(page)-1].ID
	}
	for _, e := range rollouts {
		if e.running() {
			if err := s.needReleases(ctx, e.releases()...); err != nil {
				return notStarting("rollout/"+e.state.Name, err)
			}
		}
	}
	// The release of a disabling that was undone may have been collected (neededReleases), and nothing asks for it.
	for _, d := range inForce(rollouts) {
		if err := s.needReleases(ctx, d.Spec.Release); err != nil {
			return notStarting("rollout/"+d.Name, err)
		}
	}
	for _, row := range rows {
		if err := s.needReleases(ctx, releasesOf(row)...); err != nil {
			return notStarting("node/"+row.ID, err)
		}
	}

	freeze, err := s.store.GetFreeze(ctx)
	if err != nil {
		return notStarting("freeze", err)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.rollouts, s.frozenNow = rollouts, freeze
	for _, e := range slices.Backward(rollouts) {
		if e.running() {
			s.active = append(s.active, e)
		}
	}
	for _, row := range rows {
		n := newNode(row)
		if err := s.publish(n); err != nil {
			return err
		}
		s.nodes[row.ID] = n
	}
	newer := map[nodeLayer]bool{}
	for _, r := range disabled {
		s.disableAgain(r, newer)
	}
	s.fleet++
	for _, e := range s.active {
		s.setDuties(e)
	}
	s.startedAt = s.now()
	s.phase = phaseReady
	s.drive.wake(0)
	s.log.Info("store read", "nodes", len(rows), "rollouts", len(rollouts))
	return nil
}

// notStarting says whose release could not be read at the start, and where it is missing what to do.
func notStarting(object string, err error) error {
	told, ok := errors.AsType[*model.Error](err)
	if !ok || told.Kind != model.ErrNotFound {
		return fmt.Errorf("%s: %w", object, err)
	}
	about := *told
	about.Object, about.Message = object, told.Object+", which it names, "+told.Message
	about.Next = "restore the data folder from a backup in which it is; nodes go on serving meanwhile"
	return &about
}

// releasesOf are the releases that a row names.
func releasesOf(row model.Node) []model.ReleaseID {
	ids := slices.Collect(maps.Values(row.Assigned))
	if row.Split != (model.NodeSplit{}) {
		ids = append(ids, row.Split.Release)
	}
	return ids
}

// needReleases reads into the cache the releases that are not in it.
func (s *Service) needReleases(ctx context.Context, ids ...model.ReleaseID) error {
	for _, id := range ids {
		if id == (model.ReleaseID{}) {
			continue
		}
		s.mu.Lock()
		_, known := s.releases[id]
		s.mu.Unlock()
		if known {
			continue
		}
		release, err := s.store.GetRelease(ctx, id)
		if err != nil {
			return err
		}
		if err := s.needSets(ctx, release); err != nil {
			return err
		}
		s.mu.Lock()
		s.releases[id] = release
		s.mu.Unlock()
	}
	return nil
}
