package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/waft-project/waft/client"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/authority"
)

// An application is counted by waves as everything else is, without being told so, and those who wait hear of what it took.
func TestTakesReleasesInWaves(t *testing.T) {
	s := newSite(t)
	var apps []*client.Client
	for _, id := range []string{"app-1", "app-2", "app-3"} {
		apps = append(apps, s.open(s.config(id)))
	}
	first := apps[0].Snapshot()
	if first == nil || first.Chain() != "" || flags.Len(first) != 0 {
		t.Errorf("before its first release it has %+v", first)
	}
	s.bring("first", s.release("one", value("off")))
	for _, c := range apps {
		got, err := c.Wait(t.Context())
		if err != nil || is(got) != "off" || got.Chain() == "" || len(got.Releases()) != 1 || got.Releases()[0].Layer != "global" || !strings.HasPrefix(got.Releases()[0].Name, "one@sha256:") {
			t.Errorf("it has %q of %+v, %v", is(got), got, err)
		}
	}
	select {
	case <-first.Replaced():
	default:
		t.Error("the snapshot before does not say that it was replaced")
	}
	if is(first) != "" {
		t.Error("the snapshot before has changed")
	}
	s.roll("second", s.release("two", value("on")), "[{nodes: 1, soak: 10m}, {percent: 100, soak: 0s}]")
	soaking := s.await("second", "Soaking")
	moved := nodesOf(soaking.GetStatus().GetWaves()[0])
	on := 0
	for _, c := range apps {
		if is(c.Snapshot()) == "on" {
			on++
		}
	}
	if on != 1 || len(moved) != 1 {
		t.Errorf("with wave 1 of one node, %q, %d have it", moved, on)
	}
	if _, err := s.api.Rollouts.PromoteRollout(t.Context(), &waftv1.RolloutActionRequest{Name: "second", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	s.await("second", "Done")
	for i, id := range []string{"app-1", "app-2", "app-3"} {
		s.has(apps[i], "on")
		n := s.stands(id, waftv1.ChainState_SERVING)
		if n.GetServing() != apps[i].Snapshot().Chain() || n.GetDialect() != "application" || n.GetAgentVersion() != "1.0" || !slices.Equal(n.GetCollections(), []string{"flags"}) {
			t.Errorf("the distributor knows of it %v", n)
		}
	}
}

// What an application refuses fails its wave with the application's words, is taken back, and never reaches the others.
func TestRefusalRollsBack(t *testing.T) {
	s := newSite(t)
	apps := map[string]*client.Client{}
	for _, id := range []string{"app-1", "app-2", "app-3"} {
		cfg := s.config(id)
		cfg.Accept = refuses("bad")
		if id == "app-2" {
			cfg.Accept = func(_ context.Context, s *client.Snapshot) error {
				if is(s) == "bad" {
					panic("no flag is as bad")
				}
				return nil
			}
		}
		apps[id] = s.open(cfg)
	}
	s.bring("first", s.release("one", value("off")))
	s.roll("second", s.release("two", value("bad")), "[{nodes: 1, soak: 10m}, {percent: 100}]")
	back := s.await("second", "RolledBack")
	for id, c := range apps {
		s.has(c, "off")
		s.stands(id, waftv1.ChainState_SERVING)
	}
	if cause := back.GetStatus().String(); !strings.Contains(cause, "which this application cannot do") && !strings.Contains(cause, "no flag is as bad") {
		t.Errorf("the rollout does not say why: %v", cause)
	}
	if waves := back.GetStatus().GetWaves(); len(waves) != 1 || len(nodesOf(waves[0])) != 1 {
		t.Errorf("its waves are %v", waves)
	}
	s.bring("third", s.release("three", value("on")))
	for _, c := range apps {
		s.has(c, "on")
	}
}

// A person may have a refused release tried again.
func TestRetry(t *testing.T) {
	s := newSite(t)
	cfg := s.config("app-1")
	asked := make(chan string, 16)
	cfg.Accept = func(_ context.Context, s *client.Snapshot) error {
		select {
		case asked <- is(s):
		default:
		}
		if len(asked) == 2 {
			return errors.New("not yet")
		}
		return nil
	}
	c := s.open(cfg)
	s.bring("first", s.release("one", value("off")))
	s.roll("second", s.release("two", value("on")), `[{percent: 100, soak: 10m}]`)
	s.await("second", "RolledBack")
	s.has(c, "off")
	// Given to a node past all waves, as to one that joins, it stays rejected until somebody asks.
	s.bring("third", s.release("two", value("on")))
	s.has(c, "on")
	if got := []string{<-asked, <-asked, <-asked}; !slices.Equal(got, []string{"off", "on", "on"}) {
		t.Errorf("it was asked about %q", got)
	}
}

// A message that cannot be read is refused with words, whichever way round it comes, and what is there stays.
func TestUnreadableMessageIsRefused(t *testing.T) {
	s := newSite(t)
	c := s.open(s.config("app-1"))
	s.bring("first", s.release("one", value("off")))
	other := `
apiVersion: waft.dev/v1
kind: Release
metadata: {name: two}
spec:
  resources:
  - {collection: flags, name: checkout, spec: {"@type": type.googleapis.com/google.protobuf.BoolValue, value: true}}
`
	s.roll("second", s.create(other), `[{percent: 100, soak: 10m}]`)
	s.eventually("its refusal", func() string {
		if back := s.await("second", "RolledBack").GetStatus().String(); !strings.Contains(back, "flags:checkout") || !strings.Contains(back, "BoolValue") {
			return back
		}
		return ""
	})
	s.has(c, "off")
	s.bring("third", s.release("three", value("on")))
	s.has(c, "on")
}

// An application sees a release whole over its collections, and none of those that it does not take; the plan names them.
func TestSeveralCollections(t *testing.T) {
	s := newSite(t)
	const settings, any = client.Collection[*wrapperspb.StringValue]("settings"), client.Collection[proto.Message]("any")
	cfg := s.config("app-1")
	cfg.Collections = []client.Subscription{flags, settings, any}
	c := s.open(cfg)
	release := func(name, is string) string {
		return s.release(name, value(is),
			`  - {collection: settings, name: site, spec: {"@type": type.googleapis.com/google.protobuf.StringValue, value: "`+is+`"}}`,
			`  - {collection: any, name: a, spec: {"@type": type.googleapis.com/google.protobuf.StringValue, value: "`+is+`"}}`,
			`  - {collection: any, name: b, spec: {"@type": type.googleapis.com/google.protobuf.BoolValue, value: true}}`,
			`  - {collection: others, name: x, spec: {"@type": type.googleapis.com/google.protobuf.BoolValue, value: true}}`)
	}
	seen := make(chan []string, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		var all []string
		for now := range c.Snapshots(ctx) {
			site, _ := settings.Get(now, "site")
			one, _ := any.Get(now, "a")
			all = append(all, is(now)+site.GetValue()+one2(one))
			if site.GetValue() == "3" {
				break
			}
		}
		seen <- all
	}()
	plan, err := s.api.Rollouts.PlanRollout(t.Context(), &waftv1.StartRolloutRequest{Rollout: rolloutOf(t, "first", release("r1", "1"), "[{percent: 100}]")})
	if err != nil || !strings.Contains(plan.String(), "an application that does not take others") {
		t.Errorf("the plan is %v, %v", plan, err)
	}
	for _, n := range []string{"1", "2", "3"} {
		s.bring("to-"+n, release("r"+n, n))
	}
	for _, got := range <-seen {
		if !slices.Contains([]string{"", "111", "222", "333"}, got) {
			t.Errorf("it was seen in parts: %q", got)
		}
	}
	var names []string
	for name := range any.All(c.Snapshot()) {
		names = append(names, name)
	}
	if !slices.Equal(names, []string{"a", "b"}) || any.Version(c.Snapshot(), "a") == "" {
		t.Errorf("it has %q", names)
	}
	if m, ok := client.Collection[*wrapperspb.BoolValue]("settings").Get(c.Snapshot(), "site"); ok {
		t.Errorf("another type than the one that it takes is %v", m)
	}
}

func one2(m proto.Message) string {
	if s, ok := m.(*wrapperspb.StringValue); ok {
		return s.GetValue()
	}
	return ""
}

// Without a distributor an application starts with what it had; a file that is torn is passed over for the one before, and made good when the distributor is back.
func TestStartsFromDisk(t *testing.T) {
	s := newSite(t)
	cfg := s.config("app-1")
	c := s.open(cfg)
	s.bring("first", s.release("one", value("off")))
	s.bring("second", s.release("two", value("on")))
	s.has(c, "on")
	if _, err := client.Start(t.Context(), cfg); !errors.Is(err, client.ErrLocked) {
		t.Errorf("a second client on the folder: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s.stop()
	snapshots, err := filepath.Glob(filepath.Join(cfg.StateDir, "snapshots", "*"))
	if err != nil || len(snapshots) != 2 {
		t.Fatalf("there are %q, %v", snapshots, err)
	}
	tear := func(t *testing.T, path string) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, text[:len(text)/2], 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	newest := ""
	for _, path := range snapshots {
		if text, err := os.ReadFile(path); err != nil {
			t.Fatal(err)
		} else if strings.Contains(string(text), "two@sha256") {
			newest = path
		}
	}
	record := filepath.Join(cfg.StateDir, "state.json")
	for name, tc := range map[string]struct {
		torn []string
		want []string
	}{
		"nothing torn":          {nil, []string{"on"}},
		"the newest snapshot":   {[]string{newest}, []string{"off"}},
		"the record":            {[]string{record}, []string{"on", "off"}}, // the record before may be the one of the snapshot before
		"the record and before": {[]string{record, record + ".previous"}, []string{""}},
		"all snapshots":         {snapshots, []string{""}},
		"a value has changed":   {nil, []string{"off"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			if err := os.CopyFS(dir, os.DirFS(cfg.StateDir)); err != nil {
				t.Fatal(err)
			}
			for _, path := range tc.torn {
				rel, _ := filepath.Rel(cfg.StateDir, path)
				tear(t, filepath.Join(dir, rel))
			}
			if name == "a value has changed" {
				change(t, filepath.Join(dir, "snapshots", filepath.Base(newest)), "\x1a\x02on", "\x1a\x02no")
			}
			again := cfg
			again.StateDir = dir
			c, err := client.Start(t.Context(), again)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := is(c.Snapshot()); !slices.Contains(tc.want, got) {
				t.Errorf("it starts with %q, want one of %q", got, tc.want)
			}
		})
	}
	tear(t, newest)
	again := s.begin(cfg)
	s.has(again, "off")
	s.start()
	s.has(again, "on")
	s.stands("app-1", waftv1.ChainState_SERVING)
}

// What one version of an application cannot use, or the disk does not give just now, is still there for the next start that can.
func TestUnusableStaysOnDisk(t *testing.T) {
	s := newSite(t)
	cfg := s.config("app-1")
	cfg.Trial = time.Hour
	const setting = `  - {collection: settings, name: site, spec: {"@type": type.googleapis.com/google.protobuf.StringValue, value: "a"}}`
	c := s.open(cfg)
	s.bring("first", s.release("one", value("off"), setting))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	good := crashed(t, cfg)
	cfg.Trial = -1
	c = s.open(cfg)
	s.bring("second", s.release("two", value("on"), setting))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	both := crashed(t, cfg)
	cfg, good.Trial = good, time.Hour
	c = s.begin(cfg)
	s.has(c, "on")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	onTrial := crashed(t, cfg)
	s.stop()
	otherType := func(cfg *client.Config) {
		cfg.Version, cfg.Collections = "2.0", []client.Subscription{client.Collection[*wrapperspb.BoolValue]("flags")}
	}
	newCollection := func(cfg *client.Config) {
		cfg.Version, cfg.Collections = "2.0", append(slices.Clone(cfg.Collections), client.Collection[*wrapperspb.StringValue]("settings"))
	}
	for name, tc := range map[string]struct {
		state client.Config
		other func(*client.Config)
		// unread are in the place of the files of snapshots while the other version runs.
		unread bool
		want   string
	}{
		"another type":                        {both, otherType, false, "on"},
		"a new collection":                    {both, newCollection, false, "on"},
		"the disk fails":                      {both, func(*client.Config) {}, true, "on"},
		"another type, with one on trial":     {onTrial, otherType, false, "off"}, // what is on trial comes again
		"a new collection, with one on trial": {onTrial, newCollection, false, "off"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := crashed(t, tc.state)
			other := cfg
			tc.other(&other)
			folder := filepath.Join(cfg.StateDir, "snapshots")
			files, err := os.ReadDir(folder)
			if err != nil || len(files) != 2 {
				t.Fatalf("there are %v, %v", files, err)
			}
			if tc.unread {
				if err := os.Rename(folder, folder+".aside"); err != nil {
					t.Fatal(err)
				}
				for _, file := range files { // a folder can be opened, and not read
					if err := os.MkdirAll(filepath.Join(folder, file.Name()), 0o700); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range 2 {
				c, err := client.Start(t.Context(), other)
				if err != nil {
					t.Fatal(err)
				}
				if c.Snapshot().Chain() != "" {
					t.Errorf("the other version can use %s", c.Snapshot().Chain())
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
			if tc.unread {
				if err := errors.Join(os.RemoveAll(folder), os.Rename(folder+".aside", folder)); err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range []string{tc.want, "off"} {
				c, err := client.Start(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				if got := is(c.Snapshot()); got != want {
					t.Errorf("it starts with %q, want %q", got, want)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				for _, file := range files { // and the one before is there, too
					path := filepath.Join(folder, file.Name())
					if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), "two@sha256") {
						if err := os.Truncate(path, 1); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		})
	}
}

// change puts other bytes in the place of some of a file.
func change(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil || strings.Count(string(text), from) != 1 {
		t.Fatalf("%s has %q not once; %v", path, from, err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// crashed is the state folder as a client leaves it whose process ends at once.
func crashed(t *testing.T, cfg client.Config) client.Config {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "crashed")
	if err := os.CopyFS(dir, os.DirFS(cfg.StateDir)); err != nil {
		t.Fatal(err)
	}
	cfg.StateDir = dir
	return cfg
}

// An application that a release has end is back on the release before, and the wave fails.
func TestCrashOnTrial(t *testing.T) {
	s := newSite(t)
	cfg := s.config("app-1")
	cfg.Trial = time.Hour
	c := s.open(cfg)
	s.bring("first", s.release("one", value("off")))
	s.roll("second", s.release("two", value("deadly")), `[{percent: 100, soak: 10m}]`)
	s.await("second", "Soaking")
	s.has(c, "deadly")
	after := crashed(t, cfg)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	// Closed as it should be, it goes on with it, still on trial.
	closed := crashed(t, cfg)
	closed.Servers = []string{deadAddress(t)}
	again, err := client.Start(t.Context(), closed)
	if err != nil || is(again.Snapshot()) != "deadly" {
		t.Fatalf("after Close it has %q, %v", is(again.Snapshot()), err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	c = s.begin(after)
	if got := is(c.Snapshot()); got != "off" {
		t.Errorf("after a crash on trial it has %q", got)
	}
	back := s.await("second", "RolledBack")
	if !strings.Contains(back.GetStatus().String(), "without closing its client") {
		t.Errorf("the rollout does not say why: %v", back.GetStatus())
	}
	s.stands("app-1", waftv1.ChainState_SERVING)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// A record that the disk does not give just now is not taken for none, which would be written over it.
func TestRecordThatCannotBeRead(t *testing.T) {
	s := newSite(t)
	cfg := s.config("app-1")
	c := s.open(cfg)
	s.bring("first", s.release("one", value("off")))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s.stop()
	record := filepath.Join(cfg.StateDir, "state.json")
	for name, gone := range map[string][]string{
		"both":         {record, record + ".previous"},
		"the only one": {record},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "the only one" {
				if err := os.Remove(record + ".previous"); err != nil {
					t.Fatal(err)
				}
			}
			for _, path := range gone { // a folder can be opened, and not read
				if err := errors.Join(os.Rename(path, path+".aside"), os.Mkdir(path, 0o700)); err != nil {
					t.Fatal(err)
				}
			}
			c, err := client.Start(t.Context(), cfg)
			if err == nil {
				t.Errorf("it starts with %q", is(c.Snapshot()))
				_ = c.Close() // it cannot be written either
			} else if errors.Is(err, client.ErrLocked) || errors.Is(err, client.ErrInvalid) || !strings.Contains(err.Error(), record) {
				t.Errorf("it says %v", err)
			}
			for _, path := range gone {
				if err := errors.Join(os.Remove(path), os.Rename(path+".aside", path)); err != nil {
					t.Fatal(err)
				}
			}
			if c, err = client.Start(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			if got := is(c.Snapshot()); got != "off" {
				t.Errorf("when it can be read again it starts with %q", got)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// unwritable has a client read its record, and not write it, until the function that it returns is called.
func unwritable(t *testing.T, cfg client.Config) (writable func()) {
	t.Helper()
	previous := filepath.Join(cfg.StateDir, "state.json.previous")
	if err := errors.Join(os.RemoveAll(previous), os.MkdirAll(filepath.Join(previous, "in the way"), 0o700)); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := os.RemoveAll(previous); err != nil {
			t.Fatal(err)
		}
	}
}

// What an application must not forget of its start is on disk as soon as the disk takes anything.
func TestDiskThatTakesNothingAtStart(t *testing.T) {
	s := newSite(t)
	cfg := s.config("app-1")
	cfg.Trial = time.Hour
	c := s.open(cfg)
	s.bring("first", s.release("one", value("off")))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	writable := unwritable(t, cfg)
	c = s.open(cfg)
	writable()
	s.roll("second", s.release("two", value("deadly")), `[{percent: 100, soak: 10m}]`)
	s.await("second", "Soaking")
	s.has(c, "deadly")
	after := crashed(t, cfg)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	after.Servers = []string{deadAddress(t)} // nothing but its own record tells it
	writable = unwritable(t, after)
	for range 2 {
		c, err := client.Start(t.Context(), after)
		if err != nil {
			t.Fatal(err)
		}
		if st := c.Status(); is(c.Snapshot()) != "off" || !strings.Contains(st.Reason, "without closing its client") {
			t.Errorf("after a crash on trial it has %q, %+v", is(c.Snapshot()), st)
		}
		writable()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What ended one version of an application is tried again by the next, whichever of them starts first after that.
func TestNewerVersionAfterCrashOnTrial(t *testing.T) {
	s := newSite(t)
	cfg := s.config("app-1")
	cfg.Trial = time.Hour
	c := s.open(cfg)
	s.bring("first", s.release("one", value("off")))
	s.bring("second", s.release("two", value("deadly")))
	s.has(c, "deadly")
	after, fresh := crashed(t, cfg), crashed(t, cfg)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	again := s.begin(after)
	s.stands("app-1", waftv1.ChainState_REJECTED)
	s.eventually("its client to say so", func() string {
		if st := again.Status(); st.Rejected == "" || !strings.Contains(st.Reason, "without closing its client") {
			return fmt.Sprintf("%+v", st)
		}
		return ""
	})
	both := crashed(t, after)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	for name, left := range map[string]client.Config{"after the crash": fresh, "after a start of the old one": both} {
		left.Version = "2.0"
		newer := s.begin(left)
		s.has(newer, "deadly")
		s.stands("app-1", waftv1.ChainState_SERVING)
		if err := newer.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What only the version before had as good is new to a version of an application: it is asked, and may go back to what it started with. What it started with is not.
func TestNewerVersionIsAskedAnew(t *testing.T) {
	s := newSite(t)
	cfg := s.config("app-1")
	c := s.open(cfg)
	off, on := s.release("one", value("off")), s.release("two", value("on"))
	s.bring("first", off)
	s.bring("second", on)
	s.has(c, "on")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	picky := crashed(t, cfg)
	picky.Version, picky.Trial, picky.Accept = "2.0", time.Hour, refuses("off")
	c = s.open(picky)
	s.roll("third", off, `[{percent: 100, soak: 10m}]`)
	if back := s.await("third", "RolledBack"); !strings.Contains(back.GetStatus().String(), "which this application cannot do") {
		t.Errorf("the rollout does not say why: %v", back.GetStatus())
	}
	s.has(c, "on")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	fragile := crashed(t, cfg)
	fragile.Version, fragile.Trial = "3.0", time.Hour
	var asked sync.Map
	fragile.Accept = func(_ context.Context, s *client.Snapshot) error {
		asked.Store(is(s), true)
		return nil
	}
	c = s.open(fragile)
	s.roll("fourth", off, `[{percent: 100, soak: 10m}]`)
	s.await("fourth", "Soaking")
	s.has(c, "off")
	after := crashed(t, fragile)
	if _, err := s.api.Rollouts.UndoRollout(t.Context(), &waftv1.UndoRolloutRequest{Name: "fourth", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	s.has(c, "on")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := asked.Load("off"); !ok {
		t.Error("it was not asked about what its predecessor had")
	}
	if _, ok := asked.Load("on"); ok {
		t.Error("it was asked about what it started with")
	}
	after.Servers = []string{deadAddress(t)}
	if got := is(s.begin(after).Snapshot()); got != "on" {
		t.Errorf("after a crash on trial with what its predecessor had it has %q", got)
	}
}

// An application that takes another collection than before is another one, though it says no version: it is asked about what its predecessor had, and is not held to what
// ended that.
func TestOneWithANewCollectionIsAskedAnew(t *testing.T) {
	s := newSite(t)
	cfg := s.config("app-1")
	cfg.Version, cfg.Trial = "", time.Hour
	const setting = `  - {collection: settings, name: site, spec: {"@type": type.googleapis.com/google.protobuf.StringValue, value: "a"}}`
	c := s.open(cfg)
	s.bring("first", s.release("one", value("off"), setting))
	s.has(c, "off")
	old := crashed(t, cfg)
	s.bring("second", s.release("two", value("on"), setting))
	s.has(c, "on")
	deadly := crashed(t, cfg)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	settings := client.Collection[*wrapperspb.StringValue]("settings")
	more := func(cfg client.Config, check func(*client.Snapshot) error) client.Config {
		cfg.Collections = append(slices.Clone(cfg.Collections), settings)
		cfg.Accept = func(_ context.Context, s *client.Snapshot) error { return check(s) }
		return cfg
	}
	// What ended the one before it is tried with this one, which then ends, too: that holds for this one, and not for the one before.
	c = s.begin(more(deadly, func(*client.Snapshot) error { return nil }))
	s.has(c, "on")
	s.stands("app-1", waftv1.ChainState_SERVING)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	// What the one before had as good is new to it.
	if _, err := s.api.Rollouts.UndoRollout(t.Context(), &waftv1.UndoRolloutRequest{Name: "second", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	c = s.begin(more(old, func(snapshot *client.Snapshot) error {
		if site, ok := settings.Get(snapshot, "site"); !ok || site.GetValue() != "b" {
			return errors.New("this application cannot do with that site")
		}
		return nil
	}))
	if n := s.stands("app-1", waftv1.ChainState_REJECTED); !strings.Contains(n.String(), "cannot do with that site") {
		t.Errorf("it was not asked about the new collection: %v", n)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// An application that crashed after its trial has what it had, and the rollout hears that it was started again.
func TestCrashAfterTrial(t *testing.T) {
	s := newSite(t)
	cfg := s.config("app-1")
	c := s.open(cfg)
	s.bring("first", s.release("one", value("off")))
	s.roll("second", s.release("two", value("on")), `[{percent: 100, soak: 10m}]`)
	s.await("second", "Soaking")
	after := crashed(t, cfg)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = s.begin(after)
	if got := is(c.Snapshot()); got != "on" {
		t.Errorf("it starts with %q", got)
	}
	if back := s.await("second", "RolledBack").GetStatus().String(); !strings.Contains(back, "ended and was started again after it was moved") {
		t.Errorf("the rollout says %v", back)
	}
	s.has(c, "off")
}

// When its distributor is gone an application goes on, tries the others, and is back when one is there.
func TestReconnects(t *testing.T) {
	s := newSite(t)
	cfg := s.config("app-1")
	cfg.Servers = []string{deadAddress(t), s.address, deadAddress(t)}
	c := s.open(cfg)
	s.bring("first", s.release("one", value("off")))
	s.has(c, "off")
	if st := c.Status(); !st.Connected || st.Err != nil || st.Rejected != "" {
		t.Errorf("connected, it is %+v", st)
	}
	s.stop()
	s.eventually("it to notice", func() string {
		if st := c.Status(); st.Connected || st.Err == nil {
			return "it does not"
		}
		return ""
	})
	if is(c.Snapshot()) != "off" {
		t.Error("without a distributor it has lost what it had")
	}
	s.start()
	s.stands("app-1", waftv1.ChainState_SERVING)
	s.bring("second", s.release("two", value("on")))
	s.has(c, "on")
}

// A node is who its certificate says.
func TestIdentity(t *testing.T) {
	s := &site{t: t, data: t.TempDir(), address: "127.0.0.1:0", secured: true}
	s.start()
	ca, err := authority.Open(authority.Folder(s.data))
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Issue(t.TempDir(), "node", "app-1")
	if err != nil {
		t.Fatal(err)
	}
	settings, err := client.LoadTLS(ca.CA(), files.Cert, files.Key, nil)
	if err != nil {
		t.Fatal(err)
	}
	config := func(id string) client.Config {
		cfg := s.config(id)
		cfg.Insecure, cfg.TLS = false, settings
		return cfg
	}
	c := s.open(config("app-1"))
	s.bring("first", s.release("one", value("off")))
	s.has(c, "off")
	other := s.begin(config("app-2"))
	s.eventually("another name to be refused", func() string {
		if err := other.Status().Err; err == nil || !strings.Contains(err.Error(), "PermissionDenied") {
			return "it is told " + errorText(err)
		}
		return ""
	})
	if other.Snapshot().Chain() != "" {
		t.Error("it was given something under another's name")
	}
	for _, bad := range [][3]string{{"", "x", "y"}, {files.Key, files.Cert, files.Key}, {"x", files.Cert, files.Key}} {
		if _, err := client.LoadTLS(bad[0], bad[1], bad[2], nil); err == nil {
			t.Errorf("%q are taken", bad)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return "nothing"
	}
	return err.Error()
}

// When Close returns nothing of the client runs any more, whatever it was doing; the end of its context is as good.
func TestCloseLeavesNothing(t *testing.T) {
	s := newSite(t)
	c := s.open(s.config("app-1"))
	s.bring("first", s.release("one", value("off")))
	ctx, cancel := context.WithCancel(context.Background())
	away := s.config("app-2")
	away.Servers = []string{deadAddress(t)}
	alone, err := client.Start(ctx, away)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := alone.Wait(context.Background()); err == nil {
		t.Error("it waits for a client that has ended, and says that it was given a release")
	}
	for _, c := range []*client.Client{c, alone} {
		for range 2 {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if is(c.Snapshot()) != "off" {
		t.Error("what it had is gone with it")
	}
	s.stop()
	buffer := make([]byte, 1<<20)
	for running := range strings.SplitSeq(string(buffer[:runtime.Stack(buffer, true)]), "\n\n") {
		if strings.Contains(running, "waft/client.(") || strings.Contains(running, "mcp.(*Sink)") {
			t.Errorf("this still runs:\n%s", running)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := client.Config{Node: "a", Servers: []string{"localhost:1"}, Insecure: true, StateDir: t.TempDir(), Collections: []client.Subscription{flags}}
	for name, change := range map[string]func(*client.Config){
		"no node":        func(c *client.Config) { c.Node = "" },
		"no server":      func(c *client.Config) { c.Servers = nil },
		"no port":        func(c *client.Config) { c.Servers = []string{"localhost"} },
		"no folder":      func(c *client.Config) { c.StateDir = "" },
		"no collections": func(c *client.Config) { c.Collections = nil },
		"waft's own": func(c *client.Config) {
			c.Collections = []client.Subscription{client.Collection[*structpb.Struct]("waft/v1/chains")}
		},
		"twice":   func(c *client.Config) { c.Collections = append(c.Collections, flags) },
		"a label": func(c *client.Config) { c.Labels = map[string]string{"!": "x"} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			change(&cfg)
			if _, err := client.Start(t.Context(), cfg); !errors.Is(err, client.ErrInvalid) {
				t.Errorf("it is %v", err)
			}
		})
	}
}

// Errors of the application itself fail the gate on them, and the release is taken back.
func TestErrorRatio(t *testing.T) {
	s := newSite(t)
	cfg := s.config("app-1")
	var requests, errs atomic.Int64
	cfg.Counts = func() client.Counts { return client.Counts{Requests: requests.Load(), Errors: errs.Load()} }
	c := s.open(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { // visitors of the application, all of whom one flag turns away
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if is(c.Snapshot()) == "erring" {
					errs.Add(1)
				}
				requests.Add(1)
			}
		}
	})
	const waves = "[{percent: 100, soak: 1s, gates: [{errorRatio: {max: 0.01, minSamples: 20}}]}]"
	s.bring("first", s.release("one", value("off")))
	s.roll("second", s.release("two", value("on")), waves)
	s.await("second", "Done")
	s.roll("third", s.release("three", value("erring")), waves)
	if back := s.await("third", "RolledBack").GetStatus().String(); !strings.Contains(back, "errorRatio") {
		t.Errorf("the rollout does not say why: %v", back)
	}
	s.has(c, "on")
}

// What the disk does not take is not served, and is tried again; the ledger says what holds it up.
func TestDiskThatTakesNothing(t *testing.T) {
	s := newSite(t)
	cfg := s.config("app-1")
	c := s.open(cfg)
	s.bring("first", s.release("one", value("off")))
	folder := filepath.Join(cfg.StateDir, "snapshots")
	if err := os.Rename(folder, folder+".gone"); err != nil {
		t.Fatal(err)
	}
	s.roll("second", s.release("two", value("on")), "[{percent: 100, soak: 0s}]")
	s.eventually("the ledger to say why", func() string {
		if n := s.node("app-1"); n.GetLedger().GetState() != waftv1.ChainState_LOADED || !strings.Contains(n.GetLedger().GetReason(), "cannot be kept on disk") {
			return n.String()
		}
		return ""
	})
	if got := is(c.Snapshot()); got != "off" {
		t.Errorf("it serves %q, which is not on disk", got)
	}
	if err := os.Rename(folder+".gone", folder); err != nil {
		t.Fatal(err)
	}
	s.await("second", "Done")
	s.has(c, "on")
}
