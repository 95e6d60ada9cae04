package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// drawn is what is drawn of something, without the spaces at the ends of lines.
func drawn(t *testing.T, draw func(*table)) string {
	t.Helper()
	var out bytes.Buffer
	table := newTable(&out)
	draw(table)
	if err := table.flush(); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for line := range strings.Lines(out.String()) {
		lines.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return "\n" + lines.String()
}

// atMinute is a moment that tables show alike in every time zone.
func atMinute(minute int) *timestamppb.Timestamp {
	return timestamppb.New(time.Date(2026, 3, 1, 12, minute, 0, 0, time.Local))
}

// A node says what it runs, each field with its value and layer, what moved it, what comes next and why, and how far it has come.
func TestNodeAsItIsShown(t *testing.T) {
	hash := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	n := &waftv1.Node{
		Id: "edge-1", Labels: map[string]string{"env": "prod"}, Presence: "connected", EnvoyVersion: "1.40.0", EnvoyBuild: "abc/1.40.0", AgentVersion: "v1",
		Releases: []*waftv1.ReleaseRef{{Layer: "global", Release: "edge@" + hash("1")}},
		Moved:    &waftv1.NodeMove{Rollout: "edge-2", Wave: 1, At: atMinute(5), Phase: "Soaking", StartedBy: "ann", Reason: "ticket 4711"},
		Next: []*waftv1.NodeNext{
			{
				Rollout: "edge-2", Wave: 2, Phase: "Soaking", Message: "wave 1 of 2: 1 node serves; soaks for 10m", Release: &waftv1.ReleaseRef{Layer: "global", Release: "edge@" + hash("2")},
				From: hash("a"), Chain: hash("b"), Changes: []*waftv1.FilterChange{{Filter: "authz", Change: "changed", Fields: []*waftv1.FieldChange{
					{Field: "config.issuer", From: `"a"`, To: `"b"`, Layer: "global"},
				}}},
			},
			{Rollout: "edge-3", Phase: "Pending", Reason: "its Envoy cannot load the release: it lacks an import"},
			{Rollout: "edge-4", Phase: "RollingBack", Back: true, Message: "because", From: hash("b"), Chain: hash("a")},
		},
		Rendered: []*waftv1.Rendered{{Name: "authz", Fields: []*waftv1.RenderedField{
			{Path: "config.issuer", Value: `"a"`, Layer: "global"}, {Path: "config.key", Value: `{"$secret":"file:/run/key"}`, Layer: "team/edge"},
			{Path: "config.text", Value: `"` + strings.Repeat("x", 100) + `"`, Layer: "global"}, {Path: "priority", Value: "0"},
		}}},
		Chain: hash("a"), Serving: hash("a"), Previous: hash("c"),
		Ledger: &waftv1.LedgerEntry{
			Chain: hash("a"), State: waftv1.ChainState_DEGRADED, Step: "probe", Reason: "it serves without stamp",
			OfferedAt: atMinute(1), FetchedAt: atMinute(2), LoadedAt: atMinute(3), ServingAt: atMinute(4), DegradedAt: atMinute(4),
		},
		Unfetched: map[string]string{hash("e"): "filters/authz: not found"},
		LastError: &waftv1.NodeError{Chain: hash("d"), State: waftv1.ChainState_REJECTED, Step: "load", Reason: "no VM", At: atMinute(0)},
	}
	want := `
node              edge-1
labels            env=prod
presence          connected
envoy             1.40.0 abc/1.40.0
agent             v1
release           global  edge@` + hash("1") + `
given             2026-03-01 12:05:00  moved by rollout/edge-2, wave 1 (Soaking), which ann started: ticket 4711
                  waft rollout undo edge-2 takes the whole rollout back
next              rollout/edge-2 (Soaking), wave 2
                  now: wave 1 of 2: 1 node serves; soaks for 10m
                  global  edge@` + hash("2") + `
                  chain sha256:aaaaaaaaaaaa → sha256:bbbbbbbbbbbb
                  changed authz
                    config.issuer: "a" → "b"  (global)
next              rollout/edge-3 (Pending), no wave takes it: its Envoy cannot load the release: it lacks an import
next              rollout/edge-4 (RollingBack), it goes back to what it had
                  now: because
                  chain sha256:bbbbbbbbbbbb → sha256:aaaaaaaaaaaa
                  nothing changes
filter            authz
  config.issuer   "a"                                                                                 global
  config.key      {"$secret":"file:/run/key"}                                                         team/edge
  config.text     "` + strings.Repeat("x", 79) + `…   global
  priority        0                                                                                   default
chain             sha256:` + strings.Repeat("a", 64) + `
serving           sha256:` + strings.Repeat("a", 64) + `
before            sha256:` + strings.Repeat("c", 64) + `
state             degraded
step              probe
reason            it serves without stamp
last error        2026-03-01 12:00:00  rejected at load, chain sha256:dddddddddddd: no VM
not fetched       sha256:eeeeeeeeeeee  filters/authz: not found
  offered         2026-03-01 12:01:00
  fetched         2026-03-01 12:02:00
  loaded          2026-03-01 12:03:00
  degraded        2026-03-01 12:04:00
`
	if got := drawn(t, func(t *table) { drawNode(t, n) }); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}

	for want, moved := range map[string]*waftv1.NodeMove{
		"given   2026-03-01 12:05:00  taken back by rollout/r, wave 1 (RolledBack), which ann started\n": {
			Rollout: "r", Wave: 1, At: atMinute(5), Phase: "RolledBack", StartedBy: "ann", Back: true,
		},
		"given   2026-03-01 12:05:00  joined with rollout/r, which was removed; waft audit rollout/r has who started it\n": {Rollout: "r", At: atMinute(5), Joined: true},
		"given   2026-03-01 12:05:00  moved by rollout/r, wave 1 (Done), which ann started\n": {
			Rollout: "r", Wave: 1, At: atMinute(5), Phase: "Done", StartedBy: "ann", Stays: true,
		},
		"": nil,
	} {
		if got := drawn(t, func(t *table) { drawMoved(t, &waftv1.Node{Moved: moved}) }); got != "\n"+want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestNodesAsTheyAreListed(t *testing.T) {
	nodes := []*waftv1.Node{
		{Id: "a", Presence: "connected", EnvoyVersion: "1.40.0", Labels: map[string]string{"env": "prod"}, Ledger: &waftv1.LedgerEntry{State: waftv1.ChainState_SERVING}},
		{
			Id: "b", Presence: "connected", Isolated: &waftv1.Isolation{Rollout: "edge-2", Reason: "it refused what it had"},
			Ledger: &waftv1.LedgerEntry{State: waftv1.ChainState_REJECTED, Reason: "no VM\n" + strings.Repeat("x", 100)},
		},
		{Id: "c", Presence: "unknown"},
	}
	want := `
NODE   PRESENCE    STATE               CHAIN   SERVING   ENVOY    LABELS     REASON
a      connected   serving             -       -         1.40.0   env=prod   -
b      connected   rejected,isolated   -       -         -        -          isolated by rollout/edge-2: it refused what it had; no VM\n` + strings.Repeat("x", 22) + `…
c      unknown     waiting             -       -         -        -          -
`
	if got := drawn(t, func(t *table) { drawNodes(t, nodes) }); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
}
