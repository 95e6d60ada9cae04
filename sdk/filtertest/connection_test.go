package filtertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseConnection(t *testing.T) {
	f, err := Parse("a.yaml", []byte(`
clusters: {auth: {}}
scenarios:
- name: first
  connection:
  - client: one
  - wait: 20ms
  - upstream: !!binary AAE=
  - ends: upstream
  - resets: client
  repeat: 2
  want:
    upstream: {data: one, dataContains: o, closed: reset}
    client: {data: "", closed: never}
    closedBy: upstream
    clusters: {auth: none}
    metrics: {m: 1}
    logs: [l]
- name: second
  connection: []
  want: {upstream: none}
- name: third
  connection: [{client: x}]
  want: {upstream: {}}
`))
	if err != nil {
		t.Fatal(err)
	}
	first, second, third := f.Scenarios[0], f.Scenarios[1], f.Scenarios[2]
	if want := []Step{
		{Kind: StepSend, By: PartyClient, Data: "one"}, {Kind: StepWait, Wait: 20 * time.Millisecond}, {Kind: StepSend, By: PartyUpstream, Data: "\x00\x01"},
		{Kind: StepEnd, By: PartyUpstream}, {Kind: StepReset, By: PartyClient},
	}; !slices.Equal(first.Connection, want) {
		t.Errorf("steps %v, want %v", first.Connection, want)
	}
	if w := first.Want; *w.UpstreamEnd.Data != "one" || w.UpstreamEnd.DataContains != "o" || w.UpstreamEnd.Closed != ClosedReset ||
		*w.Client.Data != "" || w.Client.Closed != ClosedNever || w.ClosedBy != PartyUpstream || w.NoUpstream || w.Clusters["auth"].Times != 0 ||
		w.Metrics["m"] != 1 || w.Logs[0] != "l" || first.Repeat != 2 {
		t.Errorf("first wants %+v", w)
	}
	if second.Connection == nil || len(second.Connection) != 0 || !second.Want.NoUpstream || second.Want.UpstreamEnd != nil {
		t.Errorf("second %+v", second)
	}
	if w := third.Want.UpstreamEnd; w == nil || *w != (WantEnd{}) || !f.TCP() {
		t.Errorf("third wants %+v", w)
	}
}

func TestParseConnectionErrors(t *testing.T) {
	const head = "scenarios:\n- name: s\n"
	const talk = head + "  connection: [{client: a}]\n"
	steps := func(list string) string { return head + "  connection:" + list + "\n" }
	for _, test := range []struct{ name, yaml, want string }{
		{"no list", steps(" {client: a}"), "a.yaml:3: connection: want a list of steps"},
		{"an unknown step", steps("\n  - client: a\n  - server: b"), "a.yaml:5: connection: step server is not known; there are client, upstream, ends, resets, wait"},
		{"two keys in a step", steps(" [{client: a, upstream: b}]"), "a.yaml:3: connection: a step has one key"},
		{"no text", steps(" [{client: [a]}]"), "a.yaml:3: connection: client: want a text"},
		{"nothing", steps(` [{client: ""}]`), "client: 0 bytes"},
		{"a piece too large", steps(" [{client: " + strings.Repeat("a", MaxPiece+1) + "}]"), "16385 bytes, from 1 to 16384"},
		{"too many steps", steps(" [" + strings.Repeat("{wait: 0s},", MaxSteps+1) + "]"), "201 steps, at most 200"},
		{"too much in all", steps(" [" + strings.Repeat("{client: "+strings.Repeat("a", MaxPiece)+"},", 33) + "]"), "the client sends more than 524288 bytes"},
		{"nobody ends", steps(" [{ends: filter}]"), `ends: "filter" is neither client nor upstream`},
		{"no time", steps(" [{wait: soon}]"), `"soon" is not a time from 0s to 3s`},
		{"sent after the end", steps(" [{ends: client}, {client: a}]"), `client: "a": the client has ended its side before`},
		{"ended twice", steps(" [{ends: client}, {ends: client}]"), "ends: client: the client has ended its side before"},
		{"broken off after the end", steps(" [{ends: client}, {resets: client}]"), "resets: client: the client has ended its side before, and Envoy does not notice"},
		{"sent after it was broken off", steps(" [{resets: client}, {upstream: a}]"), `upstream: "a": the connection was broken off before`},
		{"a request too", talk + "  request: {}\n", "request and connection: give one"},
		{"an upstream's response", talk + "  upstream: {}\n", "upstream: answers requests"},
		{"the file's upstream", "upstream: {body: a}\n" + talk, "the file's upstream answers requests"},
		{"requests beside it", talk + "- name: t\n  request: {}\n", "all requests or all connections"},
		{"a response wanted", talk + "  want: {response: {status: 200}}\n", "want.response: is of a request"},
		{"a request wanted upstream", talk + "  want:\n    upstream: {path: /}\n", "line 5: want.upstream: of a connection there are data, dataContains, closed"},
		{"both kinds wanted upstream", talk + "  want: {upstream: {data: a, path: /}}\n", "a.yaml:4: field path is not known; there are data, dataContains, closed"},
		{"an unknown key in want.client", talk + "  want: {client: {dta: a}}\n", "a.yaml:4: field dta is not known"},
		{"closed somehow", talk + "  want: {client: {closed: softly}}\n", `a.yaml:4: closed: "softly" is none of end, reset and never`},
		{"closed by somebody", talk + "  want: {closedBy: envoy}\n", `want.closedBy: "envoy" is none of client, upstream and filter`},
		{"a cluster that is not there", talk + "  want: {clusters: {a: none}}\n", "want.clusters: a is not among"},
		{"want.client of a request", head + "  want: {client: {data: a}}\n", "are of a connection; the scenario has none"},
		{"want.upstream of a connection for a request", head + "  want: {upstream: {data: a}}\n", "are of a connection; the scenario has none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("a.yaml", []byte(test.yaml))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "a.yaml") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// brokenConnections want what does not come.
const brokenConnections = `
scenarios:
- name: wrong bytes
  connection: [{client: one}, {upstream: two}]
  want: {upstream: {data: two, dataContains: three, closed: reset}, client: {data: "", closed: never}, closedBy: filter}
- name: no connection
  connection: [{client: one}]
  repeat: 2
  want: {upstream: none}
- name: the VM dies
  connection: [{client: one}, {client: die}, {upstream: two}]
- name: again
  connection: [{client: one}]
  want: {upstream: {data: one}}
`

// TestBrokenConnections has scenarios fail in both backends, in the same words, and a VM die in a connection.
func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	_, _, module := loadFilter(t, "../testdata/tcpawait")
	files := parse(t, brokenConnections)
	opts := Options{Name: "tcpawait"}
	binary, profile := newest(t)
	wasm, err := RunWasm(t.Context(), newHost(t), module, files, profile, opts)
	if err != nil {
		t.Fatal(err)
	}
	real, err := RunEnvoy(t.Context(), binary, module, files, opts)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{
			`upstream.data: want "two", got "one"`, `upstream.dataContains: want "three", got "one"`, "upstream.closed: want reset, got end",
			`client.data: want "", got ">two"`, "client.closed: want never, got end", "closedBy: want filter, got client",
		},
		{`upstream (connection 1 of 2): want none, got a connection, and "one"`, `upstream (connection 2 of 2): want none, got a connection, and "one"`},
		nil, nil,
	}
	for _, report := range []Report{wasm, real} {
		for i, r := range report.Scenarios {
			if r.Name == "the VM dies" {
				if c := r.Observed.Exchanges[0].Connection; r.Pass || r.Observed.Error == "" || c.ClosedBy != PartyFilter || c.Upstream.Data != "one" {
					t.Errorf("%s: %s: %+v", report.Backend, r.Name, r)
				}
				continue
			}
			var got []string
			for _, d := range r.Differences {
				got = append(got, fmt.Sprint(d))
			}
			if !slices.Equal(got, want[i]) {
				t.Errorf("%s: %s: %q, want %q", report.Backend, r.Name, got, want[i])
			}
		}
	}
	for _, m := range Compare(wasm, real) {
		t.Errorf("wazero and Envoy differ: %s", m)
	}
}

// TestCompareConnections finds each difference between two connections.
func TestCompareConnections(t *testing.T) {
	report := func(change func(*ObservedConnection)) Report {
		c := ObservedConnection{Upstream: &ObservedEnd{Data: "a", Closed: ClosedEnd}, Client: ObservedEnd{Data: "b", Closed: ClosedEnd}, ClosedBy: PartyClient}
		change(&c)
		return Report{Scenarios: []Result{{Name: "s", Observed: Observed{Exchanges: []Exchange{{Connection: &c}}}}}}
	}
	for what, change := range map[string]func(*ObservedConnection){
		"upstream":        func(c *ObservedConnection) { c.Upstream = nil },
		"upstream.data":   func(c *ObservedConnection) { c.Upstream.Data = "x" },
		"upstream.closed": func(c *ObservedConnection) { c.Upstream.Closed = ClosedReset },
		"client.data":     func(c *ObservedConnection) { c.Client.Data = "x" },
		"client.closed":   func(c *ObservedConnection) { c.Client.Closed = ClosedNever },
		"closedBy":        func(c *ObservedConnection) { c.ClosedBy = PartyFilter },
	} {
		found := Compare(report(func(*ObservedConnection) {}), report(change))
		if len(found) != 1 || len(found[0].Differences) != 1 || found[0].Differences[0].What != what {
			t.Errorf("%s: %v", what, found)
		}
	}
	if same := Compare(report(func(*ObservedConnection) {}), report(func(*ObservedConnection) {})); len(same) != 0 {
		t.Errorf("the same: %v", same)
	}
}
