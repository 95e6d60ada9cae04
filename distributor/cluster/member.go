package cluster

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// The keys. They stand beside the state, not in it: a backup does not hold them.
const (
	prefix      = "/waft/cluster/v1/"
	replicasKey = prefix + "replicas/"
	electionKey = prefix + "leader"
)

const (
	// leaseSeconds is for how long a replica that is not heard of counts as there. Together with an election, a load of the store and the reconnects of
	// nodes it is what the loss of a leader costs, of the 5 s that it may. etcd takes no less by default.
	leaseSeconds = 2
	// askTimeout bounds one question to etcd.
	askTimeout = 3 * time.Second
	// retryPause is between attempts to reach an etcd that does not answer, and after a leadership that failed.
	retryPause = 500 * time.Millisecond
	// maxReplicas bounds what is read of others.
	maxReplicas = 1000
)

// Replica is one distributor of a cluster, as it says itself.
type Replica struct {
	// ID is another one for each life of a replica, Name is its operator's word for it.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Address is where other replicas reach it, HOST:PORT.
	Address string `json:"address"`
	// Fingerprint is the sha256 of its certificate, in hexadecimal digits.
	Fingerprint string `json:"fingerprint"`
	// Names are the names, HOST:PORT, by which its registry is called.
	Names []string `json:"names,omitempty"`
}

// View is who is there, as etcd last said. It is not changed once it is made.
type View struct {
	// Replicas are in the order of their ids.
	Replicas []Replica
	// Leader is the zero value while there is none.
	Leader Replica
}

// Term is a leadership: what a fence needs to know of it.
type Term struct {
	Key      string
	Revision int64
}

// Config is what a Member needs. All but Explain and Log is required.
type Config struct {
	Client *clientv3.Client
	// Self is this replica, but for its ID and Fingerprint, which Join fills in.
	Self Replica
	// Explain makes of an error of etcd's one that says what to do; nil leaves each as it is.
	Explain func(error) error
	// Log takes what an operator should know; nil discards it.
	Log *slog.Logger
}

// Member is this process's part in a cluster. Its methods may be called concurrently.
type Member struct {
	client   *clientv3.Client
	self     Replica
	identity identity
	explain  func(error) error
	log      *slog.Logger

	mu   sync.Mutex
	view View
	// revision is etcd's, as of which the view is.
	revision int64
	// changed is closed, and replaced, when the view changes.
	changed chan struct{}
	// asked is when a stranger had etcd asked last.
	asked time.Time
	// in: etcd knows this replica, as far as it can tell.
	in bool
}

// Join makes a member; nobody else sees it until Run.
func Join(cfg Config) (*Member, error) {
	if cfg.Client == nil || cfg.Self.Name == "" || cfg.Self.Address == "" {
		return nil, errors.New("cluster: Config.Client, Self.Name and Self.Address are required")
	}
	m := &Member{client: cfg.Client, self: cfg.Self, explain: cfg.Explain, log: cfg.Log, changed: make(chan struct{})}
	if m.explain == nil {
		m.explain = func(err error) error { return err }
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if m.identity, err = newIdentity(cfg.Self.Name); err != nil {
		return nil, err
	}
	m.self.ID, m.self.Fingerprint = rand.Text(), m.identity.fingerprint
	return m, nil
}

// Self is this replica.
func (m *Member) Self() Replica { return m.self }

// View is who is there, and a channel that is closed when that has changed.
func (m *Member) View() (View, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view, m.changed
}

// In says whether etcd knows this replica. One that it has not heard of for as long as a lease lasts does not know who leads, either.
func (m *Member) In() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.in
}

// hears says whether etcd answers within hearTimeout.
func (m *Member) hears(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, hearTimeout)
	defer cancel()
	_, err := m.client.Get(ctx, electionKey, clientv3.WithPrefix(), clientv3.WithCountOnly())
	return err == nil
}

func (m *Member) setIn(in bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.in = in
}

// Others are the replicas but this one, the leader first.
func (m *Member) Others() []Replica {
	v, _ := m.View()
	others := slices.DeleteFunc(slices.Clone(v.Replicas), func(r Replica) bool { return r.ID == m.self.ID })
	slices.SortStableFunc(others, func(a, b Replica) int {
		switch {
		case a.ID == v.Leader.ID && b.ID != v.Leader.ID:
			return -1
		case b.ID == v.Leader.ID && a.ID != v.Leader.ID:
			return 1
		}
		return 0
	})
	return others
}

// Run takes part until ctx ends. Whenever this replica leads, lead is called, and is to return soon after its context ends, which it does with the
// leadership or with ctx; when it returns earlier, with an error, another replica is given the leadership. One call of lead follows the other.
func (m *Member) Run(ctx context.Context, lead func(context.Context, Term) error) error {
	var watching sync.WaitGroup
	watching.Go(func() { m.watch(ctx) })
	defer watching.Wait()
	for ctx.Err() == nil {
		if err := m.life(ctx, lead); err != nil && ctx.Err() == nil {
			m.log.Error("this replica is not in the cluster; trying again", "after", retryPause, "error", err)
		}
		pause(ctx, retryPause)
	}
	return nil
}

// life is one lease: it registers this replica, and stands for the leadership until the lease or ctx ends.
func (m *Member) life(ctx context.Context, lead func(context.Context, Term) error) error {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	granted, err := m.client.Grant(asking, leaseSeconds)
	if err != nil {
		return fmt.Errorf("ask etcd for a lease: %w", m.explain(err))
	}
	// The session outlives ctx, so that a leader can put its work away before it lets go of the lease.
	session, err := concurrency.NewSession(m.client, concurrency.WithTTL(leaseSeconds), concurrency.WithLease(granted.ID))
	if err != nil {
		return fmt.Errorf("keep the lease alive: %w", err)
	}
	defer func() { _ = session.Close() }() // a lease that cannot be revoked ends by itself
	value, err := json.Marshal(m.self)
	if err != nil {
		return err
	}
	if _, err := m.client.Put(asking, replicasKey+m.self.ID, string(value), clientv3.WithLease(granted.ID)); err != nil {
		return fmt.Errorf("tell etcd of this replica: %w", m.explain(err))
	}
	m.setIn(true)
	defer m.setIn(false)

	leased, end := context.WithCancel(ctx)
	defer end()
	stop := context.AfterFunc(session.Ctx(), func() { m.setIn(false); end() })
	defer stop()
	for leased.Err() == nil {
		election := concurrency.NewElection(session, electionKey)
		if err := campaign(leased, election, string(value)); err != nil {
			if leased.Err() != nil {
				break
			}
			return fmt.Errorf("stand for the leadership: %w", m.explain(err))
		}
		m.log.Info("this replica leads", "replica", m.self.Name)
		err := m.lead(leased, lead, Term{Key: election.Key(), Revision: election.Rev()})
		m.resign(election)
		if err != nil && leased.Err() == nil {
			m.log.Error("this replica does not lead any more; another one may", "replica", m.self.Name, "error", err)
			pause(leased, retryPause)
			continue
		}
		m.log.Info("this replica does not lead any more", "replica", m.self.Name)
	}
	if ctx.Err() == nil {
		return errors.New("etcd does not know the lease of this replica any more, or did not answer for as long as it lasts")
	}
	return nil
}

// campaign waits until this replica leads, or ctx ends. etcd's own then tells etcd so, for as long as that takes, and while etcd is away a replica could not be
// stopped: after a while the end of its lease says it.
func campaign(ctx context.Context, election *concurrency.Election, value string) error {
	done := make(chan error, 1)
	go func() { done <- election.Campaign(ctx, value) }() // it ends with the client
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(leaseSeconds * time.Second):
		return ctx.Err()
	}
}

// lead runs a leadership. It ends with its key, too, which somebody may have removed.
func (m *Member) lead(ctx context.Context, lead func(context.Context, Term) error, term Term) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	go func() {
		// What is known may be from before it was elected. What etcd says from now on holds its key, unless somebody has removed it already.
		for ctx.Err() == nil {
			if _, err := m.look(ctx); err == nil {
				break
			}
			pause(ctx, retryPause)
		}
		for {
			view, changed := m.View()
			if view.Leader.ID != m.self.ID {
				end()
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return lead(ctx, term)
}

// resign lets the next candidate lead at once.
func (m *Member) resign(election *concurrency.Election) {
	ctx, cancel := context.WithTimeout(context.Background(), leaseSeconds*time.Second)
	defer cancel()
	if err := election.Resign(ctx); err != nil {
		m.log.Debug("the leadership ends with the lease", "error", err)
	}
}

// watch keeps the view until ctx ends. While etcd does not answer it stays what it was.
func (m *Member) watch(ctx context.Context) {
	for ctx.Err() == nil {
		revision, err := m.look(ctx)
		if err == nil {
			err = m.follow(ctx, revision)
		}
		if err != nil && ctx.Err() == nil {
			m.log.Warn("etcd does not say who is there; asking again", "error", m.explain(err))
			pause(ctx, retryPause)
		}
	}
}

// follow looks again after each change, until the watch is lost.
func (m *Member) follow(ctx context.Context, revision int64) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for answer := range m.client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1)) {
		if err := answer.Err(); err != nil {
			return err
		}
		if answer.Header.Revision <= revision {
			continue
		}
		var err error
		if revision, err = m.look(ctx); err != nil {
			return err
		}
	}
	return nil
}

// look reads who is there, and says as of which revision.
func (m *Member) look(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	got, err := m.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithLimit(2*maxReplicas))
	if err != nil {
		return 0, err
	}
	next := readView(got.Kvs, func(key string, err error) {
		m.log.Warn("what stands in etcd of a replica cannot be read", "key", key, "error", err)
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if got.Header.Revision < m.revision {
		return got.Header.Revision, nil // somebody else has looked later
	}
	m.revision = got.Header.Revision
	if same := next.Leader.ID == m.view.Leader.ID && slices.EqualFunc(next.Replicas, m.view.Replicas, func(a, b Replica) bool { return a.ID == b.ID }); !same {
		m.view = next
		close(m.changed)
		m.changed = make(chan struct{})
	}
	return got.Header.Revision, nil
}

// strangerPause is how often certificates that nobody knows have etcd asked.
const strangerPause = 100 * time.Millisecond

// knows says whether a certificate is of a replica. Of one that has just come, the watch may not have said so yet.
func (m *Member) knows(fingerprint string) bool {
	known := func() bool {
		view, _ := m.View()
		return slices.ContainsFunc(view.Replicas, func(r Replica) bool { return r.Fingerprint == fingerprint })
	}
	if known() {
		return true
	}
	m.mu.Lock()
	wait := time.Since(m.asked) < strangerPause
	if !wait {
		m.asked = time.Now()
	}
	m.mu.Unlock()
	if wait {
		return false // it will try again
	}
	_, err := m.look(context.Background())
	return err == nil && known()
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
