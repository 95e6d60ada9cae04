package wasmhost_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

var (
	puppetOnce sync.Once
	puppetWasm []byte
)

// puppet is a VM with testdata/puppet, which does what its strings say.
type puppet struct {
	*wasmhost.Plugin
	t *testing.T
	// strings are the commands for callbacks, by the callback as it is logged ("grpc_close 1 5 0"), or by its name alone ("tick").
	// They are for one time.
	strings map[string]string
}

// newPuppet starts a VM of testdata/puppet on a proxy, which needs a Clock to move time.
func newPuppet(t *testing.T, proxy *wasmhost.Proxy, cfg wasmhost.VMConfig) *puppet {
	t.Helper()
	return enlist(t, puppetModule(t), proxy, cfg)
}

func puppetModule(t *testing.T) *wasmhost.Module {
	t.Helper()
	return puppetUnder(t, "envoy-1.40")
}

// puppetUnder loads the module under a profile.
func puppetUnder(t *testing.T, name string) *wasmhost.Module {
	t.Helper()
	puppetOnce.Do(func() { puppetWasm = goFilter(t, "puppet") })
	m, err := newHost(t, wasmhost.Config{}).Load(t.Context(), puppetWasm, profile(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// enlist starts a puppet of a loaded module. The puppets of one proxy hang on the same strings.
func enlist(t *testing.T, m *wasmhost.Module, proxy *wasmhost.Proxy, cfg wasmhost.VMConfig) *puppet {
	t.Helper()
	p := &puppet{t: t, strings: map[string]string{}}
	pull := func(_ context.Context, args []byte) ([]byte, wasmhost.Status) {
		line := string(args)
		name, _, _ := strings.Cut(line, " ")
		for _, key := range []string{line, name} {
			if c, ok := p.strings[key]; ok {
				delete(p.strings, key)
				return []byte(c), wasmhost.StatusOK
			}
		}
		return nil, wasmhost.StatusOK
	}
	if proxy.Foreign == nil {
		proxy.Foreign = map[string]wasmhost.ForeignFunction{"puppet": pull}
	}
	cfg.Proxy = proxy
	vm, err := m.NewVM(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = vm.Close(context.Background()) })
	p.Plugin = configured(t, vm, wasmhost.PluginConfig{Name: "puppet"})
	logged(vm)
	return p
}

// another starts one more VM of the same proxy, on the same strings.
func (p *puppet) another(m *wasmhost.Module, cfg wasmhost.VMConfig) *puppet {
	p.t.Helper()
	q := enlist(p.t, m, p.VM().Proxy(), cfg)
	q.strings = p.strings
	return q
}

// do has the puppet run commands in a tick, and wants the lines that it then logs, the tick's own left out.
func (p *puppet) do(commands string, want ...string) {
	p.t.Helper()
	p.strings["tick"] = commands
	if err := p.Tick(p.t.Context()); err != nil {
		p.t.Errorf("%s: %v", commands, err)
	}
	lines := logged(p.VM())
	if len(lines) > 0 && strings.HasPrefix(lines[0], "tick") {
		lines = lines[1:]
	}
	p.same(lines, want)
}

// sees wants the lines that were logged since the last look.
func (p *puppet) sees(want ...string) {
	p.t.Helper()
	p.same(logged(p.VM()), want)
}

func (p *puppet) same(got, want []string) {
	p.t.Helper()
	for i, l := range got {
		got[i] = strings.TrimSpace(l)
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("logged\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// answer lets the scripted servers answer.
func (p *puppet) answer() {
	p.t.Helper()
	if _, err := p.VM().AnswerCallouts(p.t.Context()); err != nil {
		p.t.Error(err)
	}
}

// advance moves the proxy's clock.
func (p *puppet) advance(d time.Duration) {
	p.t.Helper()
	if err := p.VM().Proxy().Advance(p.t.Context(), d); err != nil {
		p.t.Error(err)
	}
}

// virtual is a proxy whose time stands.
func virtual() *wasmhost.Proxy {
	return &wasmhost.Proxy{Clock: wasmhost.NewVirtualClock(time.Unix(1_700_000_000, 0))}
}
