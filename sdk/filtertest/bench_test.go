package filtertest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// A filter that does nothing costs less than one that reads and writes headers; one that keeps everything grows.
func TestBench(t *testing.T) {
	module := benchFilter(t)
	host := newHost(t)
	profile := wasmhost.Profiles()[len(wasmhost.Profiles())-1]
	f, err := Parse("costs.yaml", []byte(`
scenarios:
- {name: nothing, request: {}}
- {name: headers, request: {headers: {x-do: headers}}}
- {name: keep, request: {headers: {x-do: keep}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	costs, err := Bench(t.Context(), host, module, []File{f}, profile, Options{}, 200)
	if err != nil {
		t.Fatal(err)
	}
	if len(costs) != 3 || costs[0].Name() != "costs/nothing" || costs[0].Requests != 180 {
		t.Fatalf("got %+v", costs)
	}
	nothing, headers, keep := costs[0], costs[1], costs[2]
	if nothing.Time <= 0 || nothing.TimeP99 < nothing.Time || nothing.Callbacks == 0 || nothing.Memory == 0 {
		t.Errorf("nothing costs %+v", nothing)
	}
	if headers.GuestBytes < nothing.GuestBytes+len("headers") {
		t.Errorf("a header that is read takes %d bytes, none %d", headers.GuestBytes, nothing.GuestBytes)
	}
	if headers.HostCalls < nothing.HostCalls+3 {
		t.Errorf("three more headers cost %d host calls, none %d", headers.HostCalls, nothing.HostCalls)
	}
	if nothing.Growth != 0 || keep.Growth < 100*(64<<10)*9/10 {
		t.Errorf("a filter that keeps 64 KiB of each of 100 requests grew by %d bytes, one that keeps nothing by %d", keep.Growth, nothing.Growth)
	}

	crash, err := Parse("crash.yaml", []byte(`scenarios: [{name: crash, request: {headers: {x-do: crash}}}]`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Bench(t.Context(), host, module, []File{crash}, profile, Options{}, 10); err == nil || !strings.Contains(err.Error(), "crash") {
		t.Errorf("a crash gave %v", err)
	}
}

// A connection costs what its callbacks do, and one that says more costs more.
func TestBenchConnections(t *testing.T) {
	module, err := compile(t.Context(), "../testdata/tcpawait")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse("costs.yaml", []byte(`
scenarios:
- {name: nothing, connection: []}
- {name: bytes, connection: [{client: one}, {upstream: two}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	profile := wasmhost.Profiles()[len(wasmhost.Profiles())-1]
	costs, err := Bench(t.Context(), newHost(t), module, []File{f}, profile, Options{}, 200)
	if err != nil {
		t.Fatal(err)
	}
	if len(costs) != 2 || costs[0].Requests != 180 || costs[0].Time <= 0 || costs[0].Growth != 0 {
		t.Fatalf("got %+v", costs)
	}
	if nothing, bytes := costs[0], costs[1]; bytes.Callbacks != nothing.Callbacks+2 || bytes.GuestBytes != nothing.GuestBytes+len("onetwo") {
		t.Errorf("two pieces cost %+v, none %+v", bytes, nothing)
	}
}

// benchFilter is the filter in testdata/costs, compiled.
func benchFilter(t *testing.T) []byte {
	t.Helper()
	module, err := compile(t.Context(), "testdata/costs")
	if err != nil {
		t.Fatal(err)
	}
	return module
}

func TestBudget(t *testing.T) {
	b, err := ParseBudget("budget.yaml", []byte(`
default: {time: 50us, hostCalls: 3, guestBytes: 1KiB, memory: 8MiB, growth: 0}
scenarios:
  a/more: {hostCalls: 5}
  a/gone: {}
`))
	if err != nil {
		t.Fatal(err)
	}
	within := Cost{File: "a", Scenario: "less", Time: 50 * time.Microsecond, HostCalls: 3, GuestBytes: 1024, Memory: 8 << 20}
	more := within
	more.Scenario, more.HostCalls, more.GuestBytes = "more", 5, 1025
	over := within
	over.Scenario, over.Time, over.HostCalls, over.Memory, over.Growth = "over", 51*time.Microsecond, 4, 9<<20, 1
	var got []string
	for _, o := range b.Judge([]Cost{within, more, over}) {
		got = append(got, o.String())
	}
	want := []string{
		"a/more: guestBytes: at most 1KiB, costs 1025B",
		"a/over: time: at most 50µs, costs 51µs",
		"a/over: hostCalls: at most 3, costs 4",
		"a/over: memory: at most 8MiB, costs 9MiB",
		"a/over: growth: at most 0B, costs 1B",
		"a/gone: scenario: at most one that exists, costs there is none of this name; write FILE/SCENARIO",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, bad := range []string{"", "default: {time: soon}", "default: {memory: 1GB}", "default: {memory: -1}", "defaults: {}", "scenarios: {a/b: {calls: 1}}"} {
		if _, err := ParseBudget("budget.yaml", []byte(bad)); err == nil || !strings.Contains(err.Error(), "budget.yaml") {
			t.Errorf("%q gave %v", bad, err)
		}
	}
}
