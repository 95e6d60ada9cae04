package agent

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/waft-project/waft/registry/trust"
)

// guard has what the node's policy needs fetched, and judges chains by it. A nil guard trusts everything. All of it but run belongs to the driver's
// goroutine.
type guard struct {
	file     *trust.File
	log      *slog.Logger
	dossiers *dossiers
	fetcher  *fetcher
	news     chan struct{}

	// last is the latest judgement, and what it is of: the chain, which is never changed, and by what.
	last  judgement
	chain *chain
	by    string
}

// newGuard is the guard of a configuration; nil when it has no policy.
func newGuard(config Config, dir string) (*guard, error) {
	if config.TrustPolicy == nil {
		return nil, nil
	}
	d, err := newDossiers(config, dir)
	if err != nil {
		return nil, err
	}
	g := &guard{file: config.TrustPolicy, log: config.Log, dossiers: d, fetcher: newFetcher(d.fetch), news: make(chan struct{}, 1)}
	policy, _ := g.file.Policy()
	g.describe(policy)
	return g, nil
}

// describe says in the log what a policy leaves to the distributor.
func (g *guard) describe(p *trust.Policy) {
	g.log.Info("trust policy", "policy", p.Name(), "file", g.file.Path(), "releases", p.GovernsReleases())
	if p.TakesUnsigned() && !p.GovernsReleases() {
		g.log.Warn("the trust policy takes unsigned modules of some repositories, and which repository a module is from only the distributor says; "+
			"ask for signed releases (spec.releases), or leave unsigned: true to the distributor's policy", "policy", p.Name())
	}
}

// run fetches, and follows the policy's file, until ctx ends.
func (g *guard) run(ctx context.Context) {
	if g == nil {
		return
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		g.file.Watch(ctx, func(p *trust.Policy, err error) {
			if err != nil {
				g.log.Error("the trust policy's file cannot be used; the policy stays what it was", "error", err)
				return
			}
			g.describe(p)
			notify(g.news)
		})
	}()
	relayed := make(chan struct{})
	go func() {
		defer close(relayed)
		for {
			select {
			case <-ctx.Done():
				return
			case <-g.fetcher.changed:
				notify(g.news)
			}
		}
	}()
	g.fetcher.run(ctx)
	<-watched
	<-relayed
}

// changed receives after a judgement may have changed; never for a nil guard.
func (g *guard) changed() <-chan struct{} {
	if g == nil {
		return nil
	}
	return g.news
}

// hurry tries what could not be fetched again now.
func (g *guard) hurry() {
	if g != nil {
		g.fetcher.hurry()
	}
}

// want says which chains may have to be judged; nil ones are none. What others rest on is forgotten.
func (g *guard) want(chains ...*chain) {
	if g == nil {
		return
	}
	policy, _ := g.file.Policy()
	wanted := map[string]int64{}
	for _, c := range chains {
		if c == nil {
			continue
		}
		for _, name := range needs(policy, c) {
			wanted[name] = 0
		}
	}
	if g.fetcher.wants(wanted) {
		return
	}
	g.dossiers.keep(wanted)
	g.fetcher.want(wanted)
}

// judge is judge by the policy that holds now, and by what is here. What the policy refuses is asked for once more before that is said, after a change of
// the policy, when somebody asks to try again, and when the chain is given to the node again: it may have been signed since.
func (g *guard) judge(c *chain, retry int64, now time.Time) judgement {
	if g == nil {
		return judgement{}
	}
	policy, id := g.file.Policy()
	era := fmt.Sprintf("%s#%d#%d", id, retry, c.Generation)
	g.dossiers.setEra(era)
	have, version := g.dossiers.all()
	_, trouble := g.fetcher.state()
	j := g.remember(c, fmt.Sprintf("%s %d", era, version), now, func() judgement { return judge(policy, c, have, now) })
	names := needs(policy, c)
	switch j.state {
	case unjudged:
		j.reason = firstTrouble(names, trouble)
	case distrusted:
		old := g.dossiers.old(names)
		for _, name := range old {
			g.fetcher.again(name)
		}
		if len(old) > 0 && firstTrouble(old, trouble) == "" {
			return judgement{state: unjudged, until: j.until}
		}
	}
	return j
}

// remember gives the last judgement where nothing that it rests on has changed: verifying signatures is not for every turn.
func (g *guard) remember(c *chain, by string, now time.Time, judge func() judgement) judgement {
	// Not by the chain's hash, which is what the distributor says that it is.
	if c != g.chain || by != g.by || !now.Before(g.last.until) {
		g.last, g.chain, g.by = judge(), c, by
		if g.last.state == distrusted {
			g.log.Warn("not trusted", "chain", c.Hash, "reason", g.last.reason)
		}
	}
	return g.last
}

func firstTrouble(names []string, trouble map[string]string) string {
	for _, name := range names {
		if reason := trouble[name]; reason != "" {
			return strings.TrimSpace(reason)
		}
	}
	return ""
}
