package wasmhost_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// talk is a connection that does what words say: "a.text" and "b.text" send from client and upstream, "a" and "b" end their sides, "!a" and "!b"
// break it off, "go" has the filter continue after a pause and "no" close, "x" aborts.
func talk(t *testing.T, p *puppet, words string) *wasmhost.ProxiedConnection {
	t.Helper()
	ctx := t.Context()
	c, err := p.Connect(ctx, wasmhost.ConnectionInfo{})
	if err != nil {
		t.Fatal(err)
	}
	created := logged(p.VM())
	_, id, _ := strings.Cut(created[0], " ")
	id, _, _ = strings.Cut(id, " ")
	for word := range strings.FieldsSeq(words) {
		who, data, sends := strings.Cut(word, ".")
		act := map[string]func() error{
			"a":  func() error { return c.ClientEnds(ctx) },
			"b":  func() error { return c.UpstreamEnds(ctx) },
			"!a": func() error { return c.ClientResets(ctx) },
			"!b": func() error { return c.UpstreamResets(ctx) },
			"x":  func() error { return c.Abort(ctx) },
			"go": func() error {
				p.strings["tick"] = "set_effective_context " + id + "\ncontinue 2"
				return p.Tick(ctx)
			},
			"no": func() error {
				p.strings["tick"] = "set_effective_context " + id + "\nclose 2"
				return p.Tick(ctx)
			},
		}[who]
		if sends && who == "a" {
			act = func() error { return c.ClientSends(ctx, []byte(data)) }
		} else if sends {
			act = func() error { return c.UpstreamSends(ctx, []byte(data)) }
		}
		if err := act(); err != nil {
			t.Errorf("%s: %v", word, err)
		}
	}
	return c
}

// heard writes what an end got.
func heard(e wasmhost.ConnectionEnd) string {
	how := "open"
	switch {
	case e.Ended && e.Reset:
		how = "both"
	case e.Ended:
		how = "end"
	case e.Reset:
		how = "reset"
	}
	return fmt.Sprintf("%s/%s", e.Data, how)
}

// TestProxiedConnection takes connections through what their ends can do; what is wanted is what package filtertest sees in each Envoy.
func TestProxiedConnection(t *testing.T) {
	const pause = "return 1"
	for _, test := range []struct {
		name, words      string
		opens, down, up  string // what the callbacks do
		client, upstream string
		callbacks        string // the last ones
	}{
		{"both end, the client first", "a.x b.y a b.z b", "", "", "", "yz/end", "x/end", "downstream_connection_close 1"},
		{"both end, the upstream first", "a.x b.y b a.z a", "", "", "", "y/end", "xz/end", "downstream_connection_close 2"},
		{"what comes after the end is nothing", "a a.x b b.y !a", "", "", "", "/end", "/end", "downstream_connection_close 1"},
		{"one end only", "a.x a", "", "", "", "/open", "x/end", ""},
		{"the client breaks off", "a.x b.y !a b.z", "", "", "", "y/open", "x/RESETS-UPSTREAM", "downstream_connection_close 2"},
		{"the upstream breaks off", "a.x b.y !b a.z", "", "", "", "y/RESETS-CLIENT", "x/open", "downstream_connection_close 1"},
		{"the upstream breaks off after the client's end", "a.x a !b", "", "", "", "/RESETS-CLIENT", "x/end", "downstream_connection_close 1"},
		{"the client's end is held", "a b", "", pause, "", "/end", "/end", "downstream_connection_close 1"},
		{"both ends are held", "b a", "", pause, pause, "/open", "/open", ""},
		{"the filter closes", "a.x b.y", "", "", "close 2", "/end", "x/end", "downstream_connection_close 1"},
		{"the upstream does nothing before it is connected", "b.y !b b go b.z", pause, "", "", "z/open", "/open", ""},
		{"early bytes are one piece", "a.x a.y a go", pause, "", "", "/open", "xy/end", "downstream_data 2 1"},
		{"turned away", "no", pause, "", "", "/end", "none", "downstream_connection_close 1"},
		{"turned away with bytes underway", "a.x no", pause, "", "", "/reset", "none", "downstream_connection_close 1"},
		{"the client has left, and is let in", "!a go", pause, "", "", "/open", "/RESETS-UPSTREAM", "downstream_connection_close 2"},
		{"the client has spoken and left, and is let in", "a.x !a go", pause, "", "", "/open", "KEPT", "downstream_connection_close 2"},
		{"the client has left, and is turned away", "a.x !a no", pause, "", "", "/open", "none", "downstream_connection_close 1"},
		{"given up", "x", pause, "", "", "/end", "/end", "downstream_connection_close 2"},
	} {
		for _, v := range []struct{ profile, resetsClient, resetsUpstream, kept string }{
			{"envoy-1.37", "end", "end", "x/end"}, {"envoy-1.38", "reset", "end", "x/end"}, {"envoy-1.40", "reset", "reset", "/reset"},
		} {
			t.Run(test.name+"/"+v.profile, func(t *testing.T) {
				p := enlist(t, puppetUnder(t, v.profile), virtual(), wasmhost.VMConfig{})
				for name, do := range map[string]string{"new_connection": test.opens, "downstream_data": test.down, "upstream_data": test.up} {
					if do != "" {
						p.strings[name] = do
					}
				}
				c := talk(t, p, test.words)
				want := strings.NewReplacer("RESETS-CLIENT", v.resetsClient, "RESETS-UPSTREAM", v.resetsUpstream, "KEPT", v.kept)
				if got, want := heard(c.Client()), want.Replace(test.client); got != want {
					t.Errorf("the client got %s, want %s", got, want)
				}
				got := "none"
				if e, ok := c.Upstream(); ok {
					got = heard(e)
				}
				if want := want.Replace(test.upstream); got != want {
					t.Errorf("the upstream got %s, want %s", got, want)
				}
				if callback, argument, _ := strings.Cut(test.callbacks, " "); callback != "" {
					var found bool
					for _, l := range logged(p.VM()) {
						found = found || strings.HasPrefix(l, callback+" ") && strings.HasSuffix(l, " "+argument)
					}
					if !found {
						t.Errorf("no callback %s", test.callbacks)
					}
				}
				if closed := strings.HasPrefix(test.callbacks, "downstream_connection_close"); c.Closed() != closed {
					t.Errorf("closed: %v", c.Closed())
				}
			})
		}
	}
}
