package snapshot

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// message is one of the wire: a response, or a request.
type message struct {
	kind  Kind
	nonce int
	offer *Offer
	// names are all that a request asks for; more and less are those of an incremental one.
	names, more, less []string
	refused           string
	// version and each are what a first request of a stream says that Envoy holds.
	version string
	each    map[string]string
}

// fakeEnvoy behaves as Envoy does: what it accepts it has at once; it asks for what that refers to; it holds back the answer to clusters until they are warm; a
// listener that is replaced goes on for its connections, with its routes.
type fakeEnvoy struct {
	t           *testing.T
	incremental bool
	has         [Kinds]map[string]*Resource
	names       [Kinds]map[string]bool
	nonce       [Kinds]int
	version     [Kinds]string
	// warming are clusters that wait for their endpoints; what they replace serves meanwhile. cold are names of endpoints that it rejected and has none of.
	warming  map[string]*Resource
	cold     map[string]bool
	withheld *message
	draining []drained
	// bad are versions that it rejects.
	bad, taken map[string]bool
	out        []message
	now        time.Time
}

type drained struct {
	of    *Resource
	until time.Time
}

func newFakeEnvoy(t *testing.T, incremental bool, now time.Time) *fakeEnvoy {
	e := &fakeEnvoy{t: t, incremental: incremental, warming: map[string]*Resource{}, cold: map[string]bool{}, bad: map[string]bool{}, taken: map[string]bool{}, now: now}
	for k := range e.has {
		e.has[k], e.names[k] = map[string]*Resource{}, map[string]bool{}
	}
	e.send(message{kind: Clusters})
	e.send(message{kind: Listeners})
	return e
}

func (e *fakeEnvoy) send(m message) { e.out = append(e.out, m) }

func needs(r *Resource, url string) []string {
	var names []string
	for _, n := range r.Needs {
		if n.URL == url {
			names = append(names, n.Name)
		}
	}
	return names
}

// receive takes one response.
func (e *fakeEnvoy) receive(m message) {
	k, o := m.kind, m.offer
	e.nonce[k] = m.nonce
	refused := ""
	took := map[string]bool{}
	for _, r := range o.Resources {
		if e.bad[r.Version] {
			refused += r.Name + " is bad; "
			continue
		}
		if !k.whole() && !e.names[k][r.Name] {
			continue // it has let go of it meanwhile
		}
		took[r.Name], e.taken[r.Version] = true, true
		before := e.has[k][r.Name]
		if k == Clusters && (before == nil || before.Version != r.Version) && len(needs(r, envoy.EndpointsURL)) > 0 {
			e.warming[r.Name] = r
			continue
		}
		if k == Clusters {
			delete(e.warming, r.Name)
		}
		if k == Listeners && before != nil && before.Version != r.Version {
			e.draining = append(e.draining, drained{before, e.now.Add(DrainTime)})
		}
		e.has[k][r.Name] = r
	}
	gone := o.Removed
	if k.whole() && !e.incremental {
		for _, name := range slices.Concat(slices.Collect(maps.Keys(e.has[k])), slices.Collect(maps.Keys(e.warming))) {
			if !took[name] && !slices.ContainsFunc(o.Resources, func(r *Resource) bool { return r.Name == name }) {
				gone = append(gone, name)
			}
		}
	}
	for _, name := range gone {
		if before := e.has[k][name]; before != nil && k == Listeners {
			e.draining = append(e.draining, drained{before, e.now.Add(DrainTime)})
		}
		delete(e.has[k], name)
		if k == Clusters {
			delete(e.warming, name)
		}
	}
	if k == Endpoints {
		for _, r := range o.Resources { // Envoy takes a rejection for an end of the wait, too
			e.cold[r.Name] = e.has[k][r.Name] == nil
			for name, c := range e.warming {
				if needs(c, envoy.EndpointsURL)[0] == r.Name {
					e.has[Clusters][name] = c
					delete(e.warming, name)
				}
			}
		}
	}
	e.check(fmt.Sprintf("after %s %v, without %v", k.Collection(), slices.Sorted(maps.Keys(took)), gone))
	answer := message{kind: k, nonce: m.nonce, refused: refused}
	if refused == "" {
		e.version[k] = o.Version
	}
	if k == Clusters {
		e.withheld = &answer
	} else {
		answer.names = slices.Sorted(maps.Keys(e.names[k]))
		e.send(answer)
	}
	e.ask()
}

// reconnect begins a new stream: nothing of the one before arrives any more. Envoy asks again for all that it asks for, and says what it has.
func (e *fakeEnvoy) reconnect() {
	e.out, e.withheld = nil, nil
	for _, k := range []Kind{Clusters, Endpoints, Listeners, Routes} {
		e.nonce[k] = 0
		if !k.whole() && len(e.names[k]) == 0 {
			continue
		}
		m := message{kind: k, version: e.version[k], names: slices.Sorted(maps.Keys(e.names[k])), each: map[string]string{}}
		m.more = m.names
		for _, of := range []map[string]*Resource{e.has[k], e.warming} {
			for name, r := range of {
				if r.Kind == k {
					m.each[name] = r.Version
				}
			}
		}
		if e.incremental {
			m.version = ""
		}
		e.send(m)
	}
}

// giveUp ends the wait for endpoints, as Envoy does after a while (initial_fetch_timeout).
func (e *fakeEnvoy) giveUp() {
	for name, c := range e.warming {
		from := needs(c, envoy.EndpointsURL)[0]
		e.cold[from] = e.has[Endpoints][from] == nil
		e.has[Clusters][name] = c
	}
	clear(e.warming)
}

// ask sends what the resources make it ask for, and the answer to clusters when they are warm.
func (e *fakeEnvoy) ask() {
	e.draining = slices.DeleteFunc(e.draining, func(d drained) bool { return !d.until.After(e.now) })
	want := [Kinds]map[string]bool{Endpoints: {}, Routes: {}}
	for _, of := range []map[string]*Resource{e.has[Clusters], e.warming} {
		for _, c := range of {
			for _, name := range needs(c, envoy.EndpointsURL) {
				want[Endpoints][name] = true
			}
		}
	}
	for _, l := range e.listeners() {
		for _, name := range needs(l, envoy.RouteURL) {
			want[Routes][name] = true
		}
	}
	for _, k := range []Kind{Endpoints, Routes} {
		if maps.Equal(want[k], e.names[k]) {
			continue
		}
		m := message{kind: k, nonce: e.nonce[k], names: slices.Sorted(maps.Keys(want[k]))}
		for name := range want[k] {
			if !e.names[k][name] {
				m.more = append(m.more, name)
			}
		}
		for name := range e.names[k] {
			if !want[k][name] {
				m.less = append(m.less, name)
				delete(e.has[k], name)
			}
		}
		if e.incremental {
			m.nonce = 0
		}
		e.names[k] = want[k]
		e.send(m)
	}
	if e.withheld != nil && len(e.warming) == 0 {
		e.send(*e.withheld)
		e.withheld = nil
	}
}

// listeners are those that take requests, those that drain among them.
func (e *fakeEnvoy) listeners() []*Resource {
	all := slices.Collect(maps.Values(e.has[Listeners]))
	for _, d := range e.draining {
		if d.until.After(e.now) {
			all = append(all, d.of)
		}
	}
	return all
}

// check is the promise: whatever takes requests finds its clusters, and these have endpoints.
func (e *fakeEnvoy) check(when string) {
	e.t.Helper()
	for _, r := range append(e.listeners(), slices.Collect(maps.Values(e.has[Routes]))...) {
		for _, name := range needs(r, envoy.ClusterURL) {
			if name == "own" {
				continue
			}
			c := e.has[Clusters][name]
			if c == nil {
				e.t.Fatalf("%s: %s refers to cluster %s, which is not there", when, r.key(), name)
			}
			for _, from := range needs(c, envoy.EndpointsURL) {
				if e.has[Endpoints][from] == nil && !e.cold[from] {
					e.t.Fatalf("%s: %s refers to cluster %s, which has no endpoints", when, r.key(), name)
				}
			}
		}
	}
}

// fakeServer does what a stream does with a Client.
type fakeServer struct {
	c      *Client
	nonces int
	nonce  [Kinds]int
}

func (s *fakeServer) receive(m message, incremental bool, now time.Time) {
	k := m.kind
	answered := s.c.IsPending(k) && m.nonce == s.nonce[k] && m.nonce != 0
	switch {
	case answered && m.refused != "":
		s.c.Reject(k, m.refused, now)
	case answered:
		s.c.Accept(k, now)
	case !incremental && m.nonce != s.nonce[k]:
		return
	}
	if !s.c.Asked(k) {
		s.c.Claim(k, m.version, m.each, now)
	}
	if incremental {
		s.c.AskAlso(k, m.more, m.less)
	} else {
		s.c.Ask(k, m.names)
	}
}

func (s *fakeServer) step(g Gate, now time.Time) *message {
	o := s.c.Next(g, now)
	if o == nil {
		return nil
	}
	s.c.Sent(o)
	s.nonces++
	s.nonce[o.Kind] = s.nonces
	return &message{kind: o.Kind, nonce: s.nonces, offer: o}
}

// someSnapshot is one that is whole, of a small world.
func someSnapshot(r *rand.Rand) []model.RenderedResource {
	word := func() string { return fmt.Sprint(r.IntN(3)) }
	var all []model.RenderedResource
	clusters := []string{"own"}
	for i := range 5 {
		name := fmt.Sprint("c", i)
		switch r.IntN(3) {
		case 0:
			continue
		case 1:
			all = append(all, staticCluster(name, word()))
		case 2:
			all = append(all, edsCluster(name, word()), endpoints(name, word()))
		}
		clusters = append(clusters, name)
	}
	some := func() []string {
		var of []string
		for range 1 + r.IntN(2) {
			of = append(of, clusters[r.IntN(len(clusters))])
		}
		return of
	}
	used := map[string]bool{}
	for i := range 3 {
		name := fmt.Sprint("l", i)
		switch r.IntN(3) {
		case 0:
			continue
		case 1:
			all = append(all, listener(name, word(), "", some()...))
		case 2:
			from := fmt.Sprint("r", r.IntN(2))
			used[from] = true
			all = append(all, listener(name, word(), from))
		}
	}
	for name := range used {
		all = append(all, route(name, word(), some()...))
	}
	return all
}

// Whatever releases follow one another, and whenever what arrives, an Envoy has at no moment a listener or a route to a cluster that it was not sent, or was sent no
// endpoints of; and in the end it has what it is to have.
func TestNothingIsDroppedOnTheWay(t *testing.T) {
	for _, incremental := range []bool{false, true} {
		for _, faulty := range []bool{false, true} {
			t.Run(fmt.Sprintf("incremental=%v,faulty=%v", incremental, faulty), func(t *testing.T) {
				for seed := range uint64(400) {
					walkWorld(t, rand.New(rand.NewPCG(seed, 7)), incremental, faulty)
					if t.Failed() {
						t.Fatalf("seed %d", seed)
					}
				}
			})
		}
	}
}

func walkWorld(t *testing.T, r *rand.Rand, incremental, faulty bool) {
	now := time.Unix(1_800_000_000, 0)
	e, s := newFakeEnvoy(t, incremental, now), &fakeServer{c: &Client{}}
	s.c.Reset(incremental)
	var toEnvoy []message
	g := Gate{Swapped: true}
	var target *Snapshot
	strange := false
	aim := func() {
		resources := someSnapshot(r)
		target = newSnapshot(t, resources...)
		if err := target.Check(takesAll, false); err != nil {
			t.Fatal(err)
		}
		if faulty && r.IntN(2) == 0 && len(resources) > 0 {
			if one := resources[r.IntN(len(resources))].Version; !e.taken[one] { // what it took once it takes again
				e.bad[one] = true
			}
		}
		s.c.Aim(target)
	}
	turn := func() bool {
		switch r.IntN(3) {
		case 0:
			if m := s.step(g, now); m != nil {
				toEnvoy = append(toEnvoy, *m)
				return true
			}
		case 1:
			if len(toEnvoy) > 0 {
				m := toEnvoy[0]
				toEnvoy = toEnvoy[1:]
				e.receive(m)
				return true
			}
		case 2:
			if len(e.out) > 0 {
				m := e.out[0]
				e.out = e.out[1:]
				s.receive(m, incremental, now)
				return true
			}
		}
		return false
	}
	for range 4 {
		aim()
		for range r.IntN(120) {
			turn()
			if r.IntN(8) == 0 {
				now = now.Add(time.Duration(r.IntN(7)) * time.Second)
				e.now = now
			}
			g.Swapped = r.IntN(10) > 0
			if !faulty && r.IntN(60) == 0 {
				// Another server knows only what an incremental Envoy says of itself.
				if another := incremental && r.IntN(2) == 0; another {
					s.c, strange = &Client{}, true
					s.c.Aim(target)
				}
				s.c.Reset(incremental)
				s.nonce, toEnvoy = [Kinds]int{}, nil
				e.reconnect()
			}
		}
	}
	g.Swapped = true
	for quiet := 0; quiet < 400; {
		if turn() {
			quiet = 0
			continue
		}
		if quiet++; quiet%60 == 0 {
			now = now.Add(DrainTime + time.Minute)
			e.now = now
			if len(e.warming) > 0 && !faulty && !strange { // another server may not have what they wait for
				t.Fatalf("clusters wait for endpoints for ever: %v", slices.Collect(maps.Keys(e.warming)))
			}
			e.giveUp()
			e.ask()
		}
	}
	if s.c.isPending() || len(toEnvoy)+len(e.out) > 0 || e.withheld != nil {
		t.Fatalf("it does not come to rest: missing %q", s.c.Missing(false))
	}
	if refused := s.c.Refused(target); len(refused) > 0 {
		if faulty && s.c.Missing(false) != "" {
			return
		}
		t.Fatalf("refused are %+v", refused)
	}
	var has, wants []string
	for k := range Kinds {
		for _, one := range sorted(e.has[k]) {
			has = append(has, one.key()+one.Version)
		}
		for _, one := range target.list[k] {
			wants = append(wants, one.key()+one.Version)
		}
	}
	if !slices.Equal(has, wants) {
		t.Fatalf("it has\n%s\nand is to have\n%s\nmissing: %q, drains %v", strings.Join(has, "\n"), strings.Join(wants, "\n"), s.c.Missing(false), s.c.drains)
	}
}
