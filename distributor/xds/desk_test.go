package xds

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// bench is a desk with a clock of its own.
type bench struct {
	*testing.T
	*desk
	now time.Time
}

func newBench(t *testing.T, slots ...string) *bench {
	b := &bench{T: t, desk: &desk{memory: &memory{}}, now: time.Unix(1_800_000_000, 0)}
	b.begin("build", "")
	b.subscribe(slots)
	return b
}

// hashOf makes a name a hash.
func hashOf(name string) string { return model.Digest([]byte(name)) }

// chainFor is a chain of filters that are written name=module, or name=module:config.
func chainFor(hash string, filters ...string) *chain {
	c := &chain{hash: hashOf(hash), generation: 1}
	for _, text := range filters {
		name, module, _ := strings.Cut(text, "=")
		module, config, _ := strings.Cut(module, ":")
		c.filters = append(c.filters, filter{WasmFilter: envoy.WasmFilter{Name: name, Config: []byte(config)}, digest: hashOf(module), version: module + config})
	}
	return c
}

func (b *bench) give(c *chain) { b.assign(c, b.now) }

// wait moves the clock to when something is due, which must be so long from now.
func (b *bench) wait(want time.Duration) {
	b.Helper()
	at := b.wake(b.now)
	if got := at.Sub(b.now); at.IsZero() || got != want {
		b.Fatalf("something is due in %s, want %s", got, want)
	}
	b.now = at
}

// offered takes the next offer, which must be this: the slot, and the filters in it.
func (b *bench) offered(slot string, filters ...string) *offer {
	b.Helper()
	o := b.next(b.now)
	if o == nil {
		b.Fatalf("nothing is offered, want %s %v", slot, filters)
	}
	var got []string
	for _, f := range o.filters {
		got = append(got, f.Name)
	}
	if o.slot != slot || !slices.Equal(got, filters) {
		b.Fatalf("%s %v is offered, want %s %v", o.slot, got, slot, filters)
	}
	b.sent(o)
	if again := b.next(b.now); again != nil {
		b.Fatalf("%v is offered before the one before it was answered", again)
	}
	return o
}

func (b *bench) quiet() {
	b.Helper()
	if o := b.next(b.now); o != nil {
		b.Fatalf("%s %s is offered, want nothing", o.slot, o.version)
	}
}

func (b *bench) ack()               { b.accept(b.now) }
func (b *bench) nack()              { b.reject("Unable to create Wasm plugin", b.now) }
func (b *bench) came(module string) { b.desk.fetched(notice{digest: hashOf(module)}, b.now) }
func (b *bench) read(module string) { b.desk.fetched(notice{hashOf(module), true}, b.now) }

// stands checks the report.
func (b *bench) stands(state model.ChainState, serving string) {
	b.Helper()
	r := b.report(b.now)
	if serving != "" {
		serving = hashOf(serving)
	}
	if r.State != state || r.Serving != serving {
		b.Fatalf("the report is %+v, want %s serving %q", r, state, serving)
	}
}

const (
	serves = envoy.SlotName
	loads  = envoy.PreloadSlotName
)

// started is a bench whose Envoy serves the chain "one" of one filter a.
func started(t *testing.T) *bench {
	b := newBench(t, serves, loads)
	b.give(chainFor("one", "a=1"))
	b.offered(loads, "a")
	b.came("1")
	b.ack()
	b.wait(startSettle)
	b.offered(loads, "a")
	b.ack()
	b.offered(serves, "a")
	b.ack()
	b.offered(loads)
	b.ack()
	b.quiet()
	b.stands(model.ChainLoaded, "one")
	return b
}

func TestEnvoyThatStartsIsAskedToFetchFirst(t *testing.T) {
	b := newBench(t, serves, loads)
	b.quiet()
	b.stands("", "")
	b.give(chainFor("one", "a=1", "b=2"))
	if o := b.offered(loads, "a", "b"); !o.fetch {
		t.Fatal("it is to be loaded before it was fetched")
	}
	b.stands(model.ChainOffered, "")
	b.ack()
	b.now = b.now.Add(startPause - time.Second)
	b.came("1")
	b.now = b.now.Add(startPause - time.Second) // it compiles the one before it reads the other
	b.quiet()                                   // an offer now would end the fetch of the other
	b.came("2")
	b.stands(model.ChainFetched, "")
	b.wait(startSettle)
	for _, step := range [][]string{{"a"}, {"a", "b"}} {
		if o := b.offered(loads, step...); o.fetch {
			t.Fatal("it is asked to fetch twice")
		}
		b.ack()
	}
	b.stands(model.ChainLoaded, "")
	b.offered(serves, "a", "b")
	b.ack()
	b.stands(model.ChainLoaded, "one")
	b.offered(loads)
	b.ack()
	b.quiet()
}

// One whose fetches nobody sees, because its bootstrap does not say who asks, gets its chain all the same.
func TestFetchThatNobodySees(t *testing.T) {
	b := newBench(t, serves, loads)
	b.give(chainFor("one", "a=1"))
	b.offered(loads, "a")
	b.ack()
	b.wait(startPause)
	for _, pause := range blindPauses {
		b.offered(loads, "a")
		b.nack()
		b.wait(pause)
	}
	b.offered(loads, "a")
	b.ack()
	b.offered(serves, "a")
	b.ack()
	b.stands(model.ChainLoaded, "one")
}

func TestNewModuleIsRejectedOnce(t *testing.T) {
	b := started(t)
	b.give(chainFor("two", "a=1", "b=2", "c=3"))
	for _, step := range []struct {
		filters []string
		module  string
	}{{[]string{"b"}, "2"}, {[]string{"b", "c"}, "3"}} {
		b.offered(loads, step.filters...)
		b.nack()
		b.quiet()
		b.came(step.module)
		b.wait(fetchSettle)
		b.offered(loads, step.filters...)
		b.ack()
	}
	b.offered(serves, "a", "b", "c")
	b.stands(model.ChainLoaded, "one")
	b.ack()
	b.stands(model.ChainLoaded, "two")
}

// Envoy takes what it had last for what it runs, though it has rejected it: no offer is the same as the one before it.
func TestOfferAfterARejectionIsAnother(t *testing.T) {
	b := started(t)
	two := chainFor("two", "b=2")
	module := two.filters[0].digest
	two.filters[0].Remote = envoy.RemoteModule{URL: modulesURL + module, Cluster: envoy.ModulesCluster, SHA256: module[len("sha256:"):]}
	b.give(two)
	var e encoder
	seen := ""
	for range 3 {
		field, err := e.field(b.offered(loads, "b"), true)
		if err != nil {
			t.Fatal(err)
		}
		if string(field) == seen {
			t.Error("the same bytes are offered after they were rejected")
		}
		seen = string(field)
		b.nack()
		b.now = b.wake(b.now)
	}
}

// The fetch may be over before the rejection that began it has come.
func TestFetchIsSeenBeforeTheRejection(t *testing.T) {
	b := started(t)
	b.give(chainFor("two", "b=2"))
	b.offered(loads, "b")
	b.came("2")
	b.nack()
	b.wait(fetchSettle)
	b.offered(loads, "b")
	b.ack()
}

func TestConfigurationThatIsRefused(t *testing.T) {
	b := started(t)
	b.give(chainFor("bad", "a=1:bad"))
	b.offered(loads, "a")
	b.nack()
	b.stands(model.ChainRejected, "one")
	if r := b.report(b.now); !r.Final || r.Step != stepLoad || !strings.Contains(r.Reason, "Unable to create") {
		t.Errorf("the report is %+v", r)
	}
	b.quiet() // nothing of it is in the slot
	if at := b.wake(b.now); !at.IsZero() {
		t.Error("something is due with a version that was refused")
	}

	b.give(chainFor("one", "a=1")) // back
	b.quiet()
	b.stands(model.ChainLoaded, "one")
	b.give(chainFor("bad", "a=1:bad")) // and never again,
	b.quiet()
	b.stands(model.ChainRejected, "one")
	b.forgive() // unless somebody asks
	b.offered(loads, "a")
	b.ack()
	b.offered(serves, "a")
}

func TestModuleThatDoesNotLoad(t *testing.T) {
	b := started(t)
	b.give(chainFor("bad", "b=2"))
	b.offered(loads, "b")
	b.nack()
	b.came("2")
	b.wait(fetchSettle)
	b.offered(loads, "b")
	b.nack()
	b.stands(model.ChainFetched, "one")
	b.wait(fetchDoubts[0])
	b.offered(loads, "b")
	b.nack()
	b.stands(model.ChainRejected, "one")
}

// What Envoy was seen to have read, and rejects again, it does not load: one offer more is all that its module gets.
func TestModuleThatDoesNotLoadAndWasRead(t *testing.T) {
	for name, reads := range map[string]func(b *bench){
		"after the rejection":  func(b *bench) { b.nack(); b.read("2") },
		"before the rejection": func(b *bench) { b.read("2"); b.nack() },
	} {
		t.Run(name, func(t *testing.T) {
			b := started(t)
			b.give(chainFor("bad", "b=2"))
			b.offered(loads, "b")
			reads(b)
			b.wait(fetchSettle)
			b.offered(loads, "b")
			b.nack()
			b.stands(model.ChainRejected, "one")
			b.quiet()
		})
	}
	// One that was read for another chain, and never loaded, gets its offer more, too.
	b := started(t)
	b.give(chainFor("two", "b=2", "c=3"))
	b.offered(loads, "b")
	b.nack()
	b.read("2")
	b.read("3")
	b.wait(fetchSettle)
	b.offered(loads, "b")
	b.ack()
	b.offered(loads, "b", "c")
	b.nack()
	b.wait(fetchDoubts[0])
	b.offered(loads, "b", "c")
	b.nack()
	b.stands(model.ChainRejected, "one")
}

// What was seen so long ago that Envoy may have dropped it since proves nothing of a rejection.
func TestModuleThatWasReadLongAgo(t *testing.T) {
	for name, seen := range map[string]func(b *bench){
		"read":   func(b *bench) { b.offered(loads, "b"); b.nack(); b.read("2") },
		"loaded": func(b *bench) { b.offered(loads, "b"); b.ack() },
	} {
		t.Run(name, func(t *testing.T) {
			b := started(t)
			b.give(chainFor("two", "b=2"))
			seen(b)
			slot := serves
			if name == "read" {
				slot = loads
			}
			b.now = b.now.Add(fetchKept)
			var filters []string
			for _, f := range b.next(b.now).filters {
				filters = append(filters, f.Name)
			}
			b.offered(slot, filters...)
			b.now = b.now.Add(time.Second)
			b.nack()
			b.wait(fetchDoubts[0])
			b.offered(slot, filters...)
		})
	}
}

// An Envoy that starts and has read all that it was asked to fetch lost no fetch to an offer that came too early.
func TestEnvoyThatStartsWithWhatDoesNotLoad(t *testing.T) {
	b := newBench(t, serves, loads)
	b.give(chainFor("bad", "b=2"))
	b.offered(loads, "b")
	b.ack()
	b.read("2")
	b.wait(startSettle)
	b.offered(loads, "b")
	b.nack()
	b.wait(startDoubts[0])
	b.offered(loads, "b")
	b.nack()
	b.stands(model.ChainRejected, "")
	b.offered(loads) // nothing of it is left there
	b.ack()
	b.quiet()
}

func TestModuleThatIsNeverFetched(t *testing.T) {
	b := started(t)
	b.give(chainFor("bad", "b=2"))
	for _, pause := range blindPauses {
		b.offered(loads, "b")
		b.nack()
		b.wait(pause)
	}
	b.offered(loads, "b")
	b.nack()
	if r := b.report(b.now); r.State != model.ChainRejected || r.Step != stepFetch || !strings.Contains(r.Reason, hashOf("2")) {
		t.Errorf("the report is %+v", r)
	}
}

// An offer that came too early has ended the fetch; Envoy fetches again once it has forgotten that.
func TestFetchThatWasEnded(t *testing.T) {
	b := newBench(t, serves, loads)
	b.give(chainFor("one", "a=1"))
	b.offered(loads, "a")
	b.ack()
	b.came("1")
	b.wait(startSettle)
	for _, pause := range startDoubts[:2] {
		b.offered(loads, "a")
		b.nack()
		b.wait(pause)
	}
	b.offered(loads, "a")
	b.nack()
	b.came("1")
	b.wait(fetchSettle)
	b.offered(loads, "a")
	b.ack()
	b.offered(serves, "a")
}

// A slot for loading is not needed.
func TestServingSlotAlone(t *testing.T) {
	b := newBench(t, serves)
	b.give(chainFor("one", "a=1", "b=2"))
	for _, module := range []string{"1", "2"} { // Envoy fetches those of a rejected chain one by one
		b.offered(serves, "a", "b")
		b.nack()
		b.came(module)
		b.wait(fetchSettle)
	}
	b.offered(serves, "a", "b")
	b.ack()
	b.quiet()
	b.stands(model.ChainLoaded, "one")
}

func TestChainThatChangesMeanwhile(t *testing.T) {
	b := started(t)
	b.give(chainFor("two", "b=2"))
	b.offered(loads, "b")
	b.give(chainFor("three", "c=3"))
	b.nack() // of what is not wanted any more
	if _, refused := b.refusalOf(hashOf("two")); refused {
		t.Error("it was refused at the first rejection")
	}
	b.offered(loads, "c")
	b.came("3")
	b.nack()
	b.wait(fetchSettle)
	b.offered(loads, "c")
	b.ack()
	b.offered(serves, "c")
	b.give(chainFor("one", "a=1"))
	b.ack() // it serves three now, and is to go back
	b.stands("", "three")
	b.offered(loads, "a")
	b.ack()
	b.offered(serves, "a")
	b.ack()
	b.stands(model.ChainLoaded, "one")
}

func TestEnvoyThatComesBack(t *testing.T) {
	b := started(t)
	m := b.memory
	// On another stream, as it says itself.
	b.desk = &desk{memory: m}
	b.begin("build", hashOf("one"))
	b.subscribe([]string{serves, loads})
	b.give(chainFor("one", "a=1"))
	b.offered(loads) // what is in there it did not say
	b.ack()
	b.quiet()
	b.stands(model.ChainLoaded, "one")
	// Another process.
	b.desk = &desk{memory: m}
	b.begin("build", "")
	b.subscribe([]string{serves, loads})
	b.give(chainFor("one", "a=1"))
	if o := b.offered(loads, "a"); !o.fetch {
		t.Error("a new process is taken to have modules")
	}
	b.stands(model.ChainOffered, "")
}

func TestRefusalsAreOfOneBuild(t *testing.T) {
	b := started(t)
	b.give(chainFor("bad", "a=1:bad"))
	b.offered(loads, "a")
	b.nack()
	m := b.memory
	for build, kept := range map[string]bool{"build": true, "another": false} {
		refused := slices.Clone(m.refused)
		b.desk = &desk{memory: m}
		b.begin(build, hashOf("one"))
		if _, got := b.refusalOf(hashOf("bad")); got != kept {
			t.Errorf("Envoy %s: refused %v, want %v", build, got, kept)
		}
		m.build, m.refused = "build", refused
	}
	for i := range 3 * maxRefused {
		b.refuse(refusal{version: fmt.Sprint(i)})
	}
	if n := len(b.refused); n != maxRefused {
		t.Errorf("%d refusals are kept", n)
	}
}

func TestSlotThatIsAskedForAnew(t *testing.T) {
	b := started(t)
	b.subscribe([]string{loads})
	b.stands(model.ChainFetched, "")
	b.subscribe([]string{serves, loads})
	b.offered(loads, "a") // it may be another listener; what is loaded is still there
}

func TestOldEnvoyIsGivenNothing(t *testing.T) {
	b := newBench(t, serves)
	b.unfit = "too old"
	b.give(chainFor("one", "a=1"))
	b.quiet()
	b.stands(model.ChainRejected, "")
}

// A process that starts while its version is refused gets the chain that was accepted last: with none it would not listen.
func TestEnvoyThatStartsWhileItsVersionIsRefused(t *testing.T) {
	b := started(t)
	b.give(chainFor("bad", "a=1:bad"))
	b.offered(loads, "a")
	b.nack()
	restart := func() {
		b.desk = &desk{memory: b.memory}
		b.begin("build", "")
		b.subscribe([]string{serves, loads})
		b.give(chainFor("bad", "a=1:bad"))
	}
	back := func() {
		if o := b.offered(loads, "a"); !o.fetch || o.chain.hash != hashOf("one") {
			t.Fatalf("%+v is offered", o)
		}
		b.stands(model.ChainRejected, "")
		b.came("1")
		b.ack()
		b.wait(startSettle)
		b.offered(loads, "a")
		b.ack()
		if o := b.offered(serves, "a"); o.chain.hash != hashOf("one") {
			t.Fatalf("%+v is offered", o)
		}
	}
	restart()
	back()
	b.ack()
	b.stands(model.ChainRejected, "one")
	b.offered(loads)
	b.ack()
	b.quiet()

	// What comes meanwhile comes first.
	restart()
	back()
	b.give(chainFor("two", "a=1:two"))
	b.nack() // of what is not wanted any more
	if _, refused := b.refusalOf(hashOf("one")); refused {
		t.Error("it was refused at the first rejection")
	}
	if o := b.offered(loads, "a"); o.chain.hash != hashOf("two") {
		t.Errorf("%+v is offered", o)
	}
}

// A process that starts may be the first to refuse its version.
func TestEnvoyThatStartsAndRefusesItsVersion(t *testing.T) {
	b := started(t)
	b.desk = &desk{memory: b.memory}
	b.begin("build", "")
	b.subscribe([]string{serves})
	b.give(chainFor("bad", "b=2"))
	for _, pause := range blindPauses {
		b.offered(serves, "b")
		b.nack()
		b.wait(pause)
	}
	b.offered(serves, "b")
	b.nack()
	b.stands(model.ChainRejected, "")
	for _, pause := range blindPauses {
		if o := b.offered(serves, "a"); o.chain.hash != hashOf("one") {
			t.Fatalf("%+v is offered", o)
		}
		b.nack()
		b.wait(pause)
	}
	b.offered(serves, "a")
	b.nack() // that one, too
	b.quiet()
	if at := b.wake(b.now); !at.IsZero() {
		t.Error("something is due")
	}
	b.forgive()
	if o := b.offered(serves, "b"); o.chain.hash != hashOf("bad") {
		t.Fatalf("%+v is offered", o)
	}
}

// ends has Envoy reject all that it is offered, until nothing is due.
func (b *bench) ends(between func()) {
	b.Helper()
	for range 30 {
		o := b.next(b.now)
		if o == nil {
			b.stands(model.ChainRejected, "one")
			return
		}
		b.sent(o)
		between()
		b.nack()
		if at := b.wake(b.now); !at.IsZero() {
			b.now = at
		}
	}
	b.Fatal("it is offered again and again")
}

// What is known of a code cache is forgotten at a time, for those who ask what is missing as for those who ask what is left.
func TestModuleThatWasKnownLongAgo(t *testing.T) {
	b := started(t)
	b.now = b.now.Add(fetchKept + time.Second)
	b.give(chainFor("two", "a=1:two"))
	b.ends(func() {})
	if r := b.report(b.now); r.Step != stepFetch {
		t.Errorf("the report is %+v", r)
	}
}

// However often it is said that a module was fetched, a version that is rejected is refused in the end.
func TestNoticesThatDoNotEnd(t *testing.T) {
	b := started(t)
	b.give(chainFor("bad", "b=2"))
	b.ends(func() { b.came("2") })
}

// However often a rejection is put down to what was fetched since, likewise.
func TestFetchesThatDoNotEnd(t *testing.T) {
	b := started(t)
	b.give(chainFor("bad", "b=2"))
	b.ends(func() {
		b.pending.missing = []string{hashOf("2")} // as if it had been forgotten
		b.know([]filter{{digest: hashOf("2")}}, false, b.now)
	})
}

// That a module was fetched is a hint: nothing is refused at once that Envoy has not loaded.
func TestNoticeThatComesTooEarly(t *testing.T) {
	b := started(t)
	b.give(chainFor("two", "b=2", "c=3"))
	b.offered(loads, "b")
	b.came("2")
	b.came("3") // as somebody says
	b.nack()
	b.wait(fetchSettle)
	b.offered(loads, "b")
	b.ack()
	b.offered(loads, "b", "c")
	b.nack()
	b.wait(fetchDoubts[0])
	b.offered(loads, "b", "c")
	b.ack()
	b.offered(serves, "b", "c")
}

// Somebody may ask before it is known what the node is to run.
func TestRetryBeforeAnythingIsWanted(t *testing.T) {
	b := started(t)
	b.give(chainFor("bad", "a=1:bad"))
	b.offered(loads, "a")
	b.nack()
	b.desk = &desk{memory: b.memory}
	b.begin("build", hashOf("one"))
	b.subscribe([]string{serves})
	b.forgive()
	b.give(chainFor("bad", "a=1:bad"))
	b.offered(serves, "a")
}
