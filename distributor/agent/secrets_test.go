package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy/envoytest"
)

// keyed is a node that serves its good chain with one value of a secret, and is to run it with another.
func keyed() situation {
	s := settled()
	s.good.Secrets = []heldSecret{{Ref: "env:A", Version: "1", Value: "old"}}
	s.desired.Secrets = []heldSecret{{Ref: "env:A", Version: "2", Value: "new"}}
	s.seen = seeing(1, s.good.version(), 1, 0)
	return s
}

func TestReadSecret(t *testing.T) {
	base := t.TempDir()
	allowed := filepath.Join(base, "allowed")
	write := func(path, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, from string) {
		t.Helper()
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(base, "shadow"), "root")
	write(filepath.Join(base, "allowed-not", "token"), "outside")
	write(filepath.Join(allowed, "token"), "value\n")
	write(filepath.Join(allowed, "dos"), "value\r\n")
	write(filepath.Join(allowed, "lines"), "one\ntwo\n\n")
	write(filepath.Join(allowed, "empty"), "\n")
	write(filepath.Join(allowed, "binary"), "\xff\xfe")
	write(filepath.Join(allowed, "nul"), "a\x00b")
	write(filepath.Join(allowed, "most"), strings.Repeat("x", model.MaxSecret)+"\r\n")
	write(filepath.Join(allowed, "more"), strings.Repeat("x", model.MaxSecret+1))
	write(filepath.Join(allowed, "..2026", "token"), "swapped")
	link("..2026", filepath.Join(allowed, "..data"))
	link("..data/token", filepath.Join(allowed, "linked"))
	link("../shadow", filepath.Join(allowed, "out"))
	link(filepath.Join(base, "shadow"), filepath.Join(allowed, "away"))
	link("..", filepath.Join(allowed, "up"))
	if err := syscall.Mkfifo(filepath.Join(allowed, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	sources := secretSources{dirs: []string{filepath.Join(base, "gone"), allowed}, prefixes: []string{"WAFT_SECRET_"}, lookUp: func(name string) (string, bool) {
		value, there := map[string]string{"WAFT_SECRET_A": "a", "WAFT_SECRET_EMPTY": "", "HOME": "/root"}[name]
		return value, there
	}}
	in := func(name string) model.SecretRef { return model.SecretRef{File: filepath.Join(allowed, name)} }
	for _, test := range []struct {
		name    string
		sources secretSources
		ref     model.SecretRef
		want    string
		err     string
	}{
		{name: "a line", ref: in("token"), want: "value"},
		{name: "a line of DOS", ref: in("dos"), want: "value"},
		{name: "more lines", ref: in("lines"), want: "one\ntwo\n"},
		{name: "the longest", ref: in("most"), want: strings.Repeat("x", model.MaxSecret)},
		{name: "too long", ref: in("more"), err: "has more than 65536 bytes"},
		{name: "a link of Kubernetes", ref: in("linked"), want: "swapped"},
		{name: "a link out of the folder", ref: in("out"), err: "cannot be opened"},
		{name: "an absolute link", ref: in("away"), err: "cannot be opened"},
		{name: "through a folder that leads out", ref: in("up/shadow"), err: "cannot be opened"},
		{name: "a pipe", ref: in("pipe"), err: "is no regular file"},
		{name: "a folder", ref: in("..2026"), err: "is no regular file"},
		{name: "the allowed folder", ref: model.SecretRef{File: allowed}, err: "--secret-dir"},
		{name: "nothing there", ref: in("none"), err: "there is no file " + filepath.Join(allowed, "none")},
		{name: "empty", ref: in("empty"), err: "is empty"},
		{name: "no text", ref: in("binary"), err: "no text in UTF-8"},
		{name: "a NUL", ref: in("nul"), err: "no text in UTF-8"},
		{name: "a folder whose name begins alike", ref: model.SecretRef{File: filepath.Join(base, "allowed-not", "token")}, err: "--secret-dir"},
		{name: "a file that is there and not allowed", ref: model.SecretRef{File: filepath.Join(base, "shadow")}, err: "--secret-dir"},
		{name: "one that is not there and not allowed", ref: model.SecretRef{File: filepath.Join(base, "shadow2")}, err: "--secret-dir"},
		{name: "a variable", ref: model.SecretRef{Env: "WAFT_SECRET_A"}, want: "a"},
		{name: "an empty one", ref: model.SecretRef{Env: "WAFT_SECRET_EMPTY"}, err: "is empty"},
		{name: "one that is not set", ref: model.SecretRef{Env: "WAFT_SECRET_B"}, err: "has no variable WAFT_SECRET_B"},
		{name: "one that is not allowed", ref: model.SecretRef{Env: "HOME"}, err: "--secret-env"},
		{name: "nothing is allowed by itself", sources: secretSources{lookUp: os.LookupEnv}, ref: model.SecretRef{File: "/etc/hostname"}, err: "none is allowed"},
		{name: "no variable either", sources: secretSources{lookUp: os.LookupEnv}, ref: model.SecretRef{Env: "PATH"}, err: "none is allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			from := sources
			if test.sources.lookUp != nil {
				from = test.sources
			}
			got, err := from.read(test.ref)
			if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q, %v; want %q, %q", got, err, test.want, test.err)
			}
		})
	}
}

func TestSecretState(t *testing.T) {
	gone := errors.New("gone")
	for _, test := range []struct {
		name string
		from secretState
		read []any // strings and errors
		want secretState
	}{
		{name: "the first value counts at once", read: []any{"a"}, want: secretState{value: "a"}},
		{name: "that it is missing must be seen twice", read: []any{gone}, want: secretState{nextTrouble: "gone"}},
		{name: "twice", read: []any{gone, gone}, want: secretState{trouble: "gone"}},
		{name: "then it comes", read: []any{gone, gone, "a"}, want: secretState{value: "a"}},
		{name: "another value must be read twice", read: []any{"a", "b"}, want: secretState{value: "a", next: "b"}},
		{name: "read twice", read: []any{"a", "b", "b"}, want: secretState{value: "b"}},
		{name: "a file that is being written", read: []any{"a", "b", "bc", "bcd", "bcd"}, want: secretState{value: "bcd"}},
		{name: "back again", read: []any{"a", "b", "a"}, want: secretState{value: "a"}},
		{name: "gone for a moment", read: []any{"a", gone, "a"}, want: secretState{value: "a"}},
		{name: "gone for a moment, then another", read: []any{"a", gone, "b", "b"}, want: secretState{value: "b"}},
		{name: "gone", read: []any{"a", gone, gone}, want: secretState{value: "a", trouble: "gone"}},
		{name: "gone, then another", read: []any{"a", gone, gone, "b"}, want: secretState{value: "a", trouble: "gone", next: "b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			state := test.from
			for _, r := range test.read {
				if err, failed := r.(error); failed {
					state = state.observe("", err)
				} else {
					state = state.observe(r.(string), nil)
				}
			}
			if state != test.want {
				t.Errorf("%+v, want %+v", state, test.want)
			}
		})
	}
}

func TestFill(t *testing.T) {
	a, b := model.SecretRef{Env: "A"}, model.SecretRef{File: "/s/b"}
	s := &secrets{key: []byte("key")}
	named := &chain{Hash: newHash, Filters: []filter{{Name: "plain", Config: []byte(`{"n":1.50}`)}, {Name: "keyed", Config: []byte(`{"list":[{"$secret":{"env":"A"}},2],"to":{"$secret":{"file":"/s/b"}}}`)}}}
	both := map[model.SecretRef]secretState{a: {value: "va\"l"}, b: {value: "<b>"}}
	got := s.fill(named, both)
	if got.chain == nil || string(got.chain.Filters[0].Config) != `{"n":1.50}` || string(got.chain.Filters[1].Config) != `{"list":["va\"l",2],"to":"<b>"}` {
		t.Fatalf("filled %+v", got)
	}
	if named.Secrets != nil || !strings.Contains(string(named.Filters[1].Config), "$secret") {
		t.Errorf("the chain itself was changed: %+v", named)
	}
	if got.chain.Hash != named.Hash || got.chain.version() == named.version() || got.chain.is(named) {
		t.Errorf("version %q", got.chain.version())
	}
	if again := s.fill(named, both).chain; !again.is(got.chain) {
		t.Errorf("the same values have the version %q and %q", again.version(), got.chain.version())
	}
	other := s.fill(named, map[model.SecretRef]secretState{a: {value: "x"}, b: {value: "<b>"}}).chain
	versions := parseVersions(got.chain.secretVersions())
	if other.is(got.chain) || len(versions) != 2 || versions["file:/s/b"] != parseVersions(other.secretVersions())["file:/s/b"] || versions["env:A"] == parseVersions(other.secretVersions())["env:A"] {
		t.Errorf("versions %v", versions)
	}
	elsewhere := (&secrets{key: []byte("another")}).fill(named, both).chain
	if elsewhere.secretVersions() == got.chain.secretVersions() {
		t.Error("two nodes have the same version of a value, which could be guessed by it")
	}
	var back chain
	if raw, err := json.Marshal(got.chain); err != nil || json.Unmarshal(raw, &back) != nil || !back.is(got.chain) || back.Hash != newHash || back.Secrets[1].Value != "<b>" {
		t.Errorf("from the disk: %+v, %v", back, err)
	}

	for name, test := range map[string]struct {
		config string
		known  map[model.SecretRef]secretState
		want   string
	}{
		"not read yet":    {`{"$secret":{"env":"A"}}`, map[model.SecretRef]secretState{a: {}}, ""},
		"missing":         {`{"x":[{"$secret":{"env":"A"}}]}`, map[model.SecretRef]secretState{a: {trouble: "not set"}}, "filter f, config.x[0]: secret env:A: not set"},
		"gone":            {`{"$secret":{"env":"A"}}`, map[model.SecretRef]secretState{a: {value: "old", trouble: "not set"}}, "not set"},
		"no name of one":  {`{"x":{"$secret":{"vault":"A"}}}`, nil, "not named by \"vault\""},
		"too much of one": {`[` + strings.Repeat(`{"$secret":{"env":"A"}},`, 32) + `0]`, map[model.SecretRef]secretState{a: {value: strings.Repeat("x", model.MaxSecret)}}, "more than 1048576 bytes"},
		"longer as JSON":  {`[` + strings.Repeat(`{"$secret":{"env":"A"}},`, 4) + `0]`, map[model.SecretRef]secretState{a: {value: strings.Repeat("\x01", model.MaxSecret)}}, "more than 1048576 bytes as JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.fill(&chain{Hash: newHash, Filters: []filter{{Name: "f", Config: []byte(test.config)}}}, test.known)
			if got.chain != nil || (got.trouble == "") != (test.want == "") || !strings.Contains(got.trouble, test.want) {
				t.Errorf("%+v, want %q", got, test.want)
			}
		})
	}
}

// The chains that a node holds at most, with as much of secrets in them as is taken, are there again when the agent starts. More is refused before anything serves with it.
func TestStateHoldsWhatIsFilled(t *testing.T) {
	s := &secrets{key: []byte("key")}
	ref := model.SecretRef{Env: "A"}
	naming := func(filters, times int) *chain {
		c := &chain{Hash: newHash}
		for i := range filters {
			c.Filters = append(c.Filters, filter{Name: fmt.Sprint("f", i), Config: []byte(`[` + strings.Repeat(`{"$secret":{"env":"A"}},`, times) + `0]`)})
		}
		return c
	}
	for name, value := range map[string]string{"plain": strings.Repeat("x", 3<<10), "escaped where it stands": strings.Repeat("\x01", 3<<10), "escaped where it is kept": strings.Repeat("<", 3<<10)} {
		t.Run(name, func(t *testing.T) {
			known := map[model.SecretRef]secretState{ref: {value: value}}
			if got := s.fill(naming(maxFilters-1, 50), known); got.chain != nil || !strings.Contains(got.trouble, "more than 4194304 bytes as JSON together; name fewer") {
				t.Fatalf("filled with %q, %v", got.trouble, got.chain != nil)
			}
			var most *chain
			for filters := 1; ; filters++ {
				got := s.fill(naming(filters, 50), known)
				if got.chain == nil {
					break
				}
				most = got.chain
			}
			dir := t.TempDir()
			state, _, err := openState(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := state.change(func(r *record) { r.Good, r.Before, r.Trial = most, most, most }); err != nil {
				t.Fatal(err)
			}
			if err := state.close(); err != nil {
				t.Fatal(err)
			}
			again, damaged, err := openState(dir)
			if err != nil || damaged != nil || !again.read().Good.is(most) {
				t.Fatalf("after a restart: %v, %v", damaged, err)
			}
			if err := again.close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A chain may name as many secrets as the one before did, and all of them others.
func TestOtherSecrets(t *testing.T) {
	s := &secrets{wake: make(chan struct{}, 1), known: map[model.SecretRef]secretState{}}
	naming := func(prefix string) *chain {
		c := &chain{Hash: newHash}
		for i := range model.MaxChainSecrets {
			c.Filters = append(c.Filters, filter{Name: "f", Config: fmt.Appendf(nil, `{"$secret":{"env":"%s%d"}}`, prefix, i)})
		}
		return c
	}
	s.want(naming("A"))
	s.want(naming("B"))
	if known, _ := s.all(); len(known) != model.MaxChainSecrets {
		t.Errorf("%d secrets are read", len(known))
	} else if got := s.fill(naming("B"), known); got.trouble != "" {
		t.Errorf("%+v", got)
	}
}

// A rollback needs the chain before, not the one with the secrets before.
func TestAnotherSecretIsNoOtherChain(t *testing.T) {
	before, was, is := newChain(), goodChain(), goodChain()
	was.Secrets, is.Secrets = []heldSecret{{Ref: "env:A", Version: "1"}}, []heldSecret{{Ref: "env:A", Version: "2"}}
	r := record{Good: was, Before: before}
	if r.become(is); r.Good != is || r.Before != before {
		t.Errorf("%+v", r)
	}
}

// secretConfig is a filter whose configuration is a secret in a file.
func secretConfig(module *waftv1.ModuleRef, path string) *waftv1.Filter {
	f := filterOf("one", module, "")
	f.Config = fmt.Appendf(nil, `{"$secret":{"file":%q}}`, path)
	return f
}

// replace puts another value into a secret's file, as who rotates it does.
func replace(t *testing.T, path, value string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// A secret that is missing, that comes, that is changed under load, that is changed to one which the filter refuses and says aloud, that is gone; and an agent that starts
// without the distributor.
func TestTheWayOfASecret(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	config.SecretDirs = []string{dir}
	agent := run(t, config)
	plain := s.module(guest)
	first := s.give(filterOf("one", plain, "plain"))
	s.await(first, waftv1.ChainState_SERVING)

	given := s.give(secretConfig(plain, path))
	if r := s.awaitServing(given, waftv1.ChainState_REJECTED, first); !r.GetFinal() || r.GetStep() != "secrets" || !strings.Contains(r.GetReason(), "secret file:"+path+": there is no file "+path) {
		t.Errorf("report %v", r)
	}
	answers(t, config.Listen, "x-one", "plain")

	replace(t, path, "horse-battery-1")
	one := s.await(given, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one", "horse-battery-1")
	load := visitFor(t, config.Listen, "x-one")
	replace(t, path, "horse-battery-2")
	answers(t, config.Listen, "x-one", "horse-battery-2")
	envoytest.Eventually(t, "the ledger has another version of the secret", func(context.Context) error {
		two := s.lastStanding()
		if was, is := one.GetSecrets()["file:"+path], two.GetSecrets()["file:"+path]; was == "" || is == "" || was == is || two.GetState() != waftv1.ChainState_SERVING {
			return fmt.Errorf("the last report is %v, the one before %v", two, one)
		}
		return nil
	})

	replace(t, path, "gossip-battery-3")
	r := s.await(given, waftv1.ChainState_DEGRADED)
	if r.GetStep() != "probe" || !strings.Contains(r.GetReason(), "the guest refuses the configuration [secret file:"+path+"]") || r.GetServingHash() != given {
		t.Errorf("report %v", r)
	}
	answers(t, config.Listen, "x-one", "horse-battery-2")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	envoytest.Eventually(t, "the ledger says that the secret is gone", func(context.Context) error {
		if r := s.lastStanding(); r.GetState() != waftv1.ChainState_DEGRADED || r.GetStep() != "secrets" || !strings.Contains(r.GetReason(), "there is no file") {
			return fmt.Errorf("the last report is %v", r)
		}
		return nil
	})
	load.stop()
	if load.failed.Load() > 0 || load.sent.Load() == 0 {
		t.Errorf("%d of %d requests failed, the last with %v", load.failed.Load(), load.sent.Load(), load.last.Load())
	}

	agent.stop()
	s.stop()
	agent = run(t, config)
	answers(t, config.Listen, "x-one", "horse-battery-2")
	agent.stop()

	for _, line := range agent.log.lines {
		if strings.Contains(line, "battery") {
			t.Errorf("the log has a secret: %s", line)
		}
	}
	for _, r := range s.said() {
		if strings.Contains(r.String(), "battery") {
			t.Errorf("a report has a secret: %v", r)
		}
	}
	if err := filepath.WalkDir(config.StateDir, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(at)
		if err != nil || !strings.Contains(string(content), "battery") {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others may read %s, which has a secret: %v", at, info.Mode())
		}
		if name := filepath.Base(at); strings.HasPrefix(name, verdictsFile) {
			t.Errorf("%s has a secret", at)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func FuzzFill(f *testing.F) {
	f.Add([]byte(`{"a":{"$secret":{"env":"A"}}}`), "value")
	f.Add([]byte(`[{"$secret":{"file":"/a"}},{"$secret":{"env":"A","file":"/a"}}]`), "\n\"\\")
	f.Add([]byte("{\"\\u0024secret\":{\"env\":\"A\"}}"), "x")
	f.Fuzz(func(t *testing.T, config []byte, value string) {
		if value == "" {
			return
		}
		uses, err := model.Secrets(config)
		known := map[model.SecretRef]secretState{}
		for _, use := range uses {
			known[use.Ref] = secretState{value: value}
		}
		s := &secrets{key: []byte("key")}
		began := time.Now()
		got := s.fill(&chain{Hash: newHash, Filters: []filter{{Name: "f", Config: config}}}, known)
		switch {
		case err != nil && got.chain != nil:
			t.Errorf("filled what names no secret as it should: %s", config)
		case err == nil && len(uses) == 0 && (got.chain == nil || string(got.chain.Filters[0].Config) != string(config)):
			t.Errorf("a configuration without secrets was changed: %s", config)
		case got.chain != nil && len(uses) > 0 && len(got.chain.Filters[0].Config) > maxFilledConfig:
			t.Errorf("%d bytes", len(got.chain.Filters[0].Config))
		case got.chain != nil:
			if left, err := model.Secrets(got.chain.Filters[0].Config); err != nil || len(left) > 0 {
				t.Errorf("names secrets still: %s", got.chain.Filters[0].Config)
			}
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("took %s", took)
		}
	})
}
