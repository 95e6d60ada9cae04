package agent

import (
	"testing"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

func TestStand(t *testing.T) {
	accepted := &envoy.Verdict{Outcome: envoy.Accepted}
	rejected := &envoy.Verdict{Outcome: envoy.Rejected, Reasons: []string{"no"}}
	for _, test := range []struct {
		name   string
		change func(*situation)
		want   standing
		none   bool
	}{
		{name: "never given", change: func(s *situation) { s.desired, s.good = nil, nil }, none: true},
		{name: "serving", change: func(*situation) {}, want: standing{hash: goodHash, generation: 1, state: waftv1.ChainState_SERVING, step: stepServe, serving: goodHash}},
		{name: "offered", change: func(s *situation) { s.desired, s.have = newChain(), nil }, want: standing{state: waftv1.ChainState_OFFERED, step: stepFetch, reason: "fetch trouble", serving: goodHash}},
		{name: "fetched", change: func(s *situation) { s.desired = newChain() }, want: standing{state: waftv1.ChainState_FETCHED, step: stepProbe, reason: "probe trouble", serving: goodHash}},
		{name: "cannot be judged", change: func(s *situation) {
			s.desired, s.trust = newChain(), judgement{state: unjudged, reason: "no signatures"}
		}, want: standing{state: waftv1.ChainState_FETCHED, step: stepTrust, reason: "no signatures", serving: goodHash}},
		{name: "not trusted", change: func(s *situation) {
			s.desired, s.verdict, s.trust = newChain(), accepted, judgement{state: distrusted, reason: "unsigned"}
		}, want: standing{state: waftv1.ChainState_REJECTED, step: stepTrust, reason: "unsigned", final: true, serving: goodHash}},
		{name: "not trusted any more, and serving", change: func(s *situation) {
			s.trust = judgement{state: distrusted, reason: "revoked"}
		}, want: standing{hash: goodHash, generation: 1, state: waftv1.ChainState_DEGRADED, step: stepTrust, reason: "revoked", serving: goodHash}},
		{name: "serving, while it is judged anew", change: func(s *situation) {
			s.trust = judgement{state: unjudged}
		}, want: standing{hash: goodHash, generation: 1, state: waftv1.ChainState_SERVING, step: stepServe, serving: goodHash}},
		{name: "probed", change: func(s *situation) { s.desired, s.verdict = newChain(), accepted }, want: standing{state: waftv1.ChainState_FETCHED, step: stepLoad, serving: goodHash}},
		{name: "probed, and nothing to load into", change: func(s *situation) { s.desired, s.verdict, s.preloads = newChain(), accepted, false }, want: standing{state: waftv1.ChainState_LOADED, step: stepSwap, serving: goodHash}},
		{name: "loaded", change: func(s *situation) { s.desired, s.verdict, s.loaded = newChain(), accepted, newHash }, want: standing{state: waftv1.ChainState_LOADED, step: stepSwap, serving: goodHash}},
		{name: "in the slots", change: func(s *situation) { s.desired, s.verdict, s.trial = newChain(), accepted, trying() }, want: standing{state: waftv1.ChainState_LOADED, step: stepSwap, serving: goodHash}},
		{name: "in the slots, half way", change: func(s *situation) {
			s.desired, s.verdict, s.trial, s.seen = newChain(), accepted, trying(), seeing(1, newHash, 1, 0)
		}, want: standing{state: waftv1.ChainState_LOADED, step: stepSwap, serving: goodHash}},
		{name: "on trial", change: func(s *situation) {
			s.desired, s.verdict, s.trial, s.seen = newChain(), accepted, onTrial(), seeing(1, newHash, 2, 0)
		}, want: standing{state: waftv1.ChainState_SERVING, step: stepServe, serving: newHash}},
		{name: "rejected by the probe", change: func(s *situation) { s.desired, s.verdict = newChain(), rejected }, want: standing{state: waftv1.ChainState_REJECTED, step: stepProbe, reason: "no", final: true, serving: goodHash}},
		{name: "refused by Envoy", change: func(s *situation) {
			s.desired, s.verdict, s.refusal = newChain(), accepted, &refusal{step: stepSwap, reason: "why", until: noon.Add(time.Minute)}
		}, want: standing{state: waftv1.ChainState_REJECTED, step: stepSwap, reason: "why", serving: goodHash}},
		{name: "its trial lapsed again and again", change: func(s *situation) {
			s.desired, s.verdict, s.lapsed = newChain(), accepted, &lapsed{Chain: newHash, Times: 3, Reason: "Envoy ended with the agent", Until: noon.Add(time.Minute)}
		}, want: standing{state: waftv1.ChainState_FETCHED, step: stepServe, serving: goodHash,
			reason: "its loading or its trial has lapsed 3 times in a row, the last time because Envoy ended with the agent; it is tried again at 2026-01-02T12:01:00Z"}},
		{name: "and it was tried again", change: func(s *situation) {
			s.desired, s.verdict, s.lapsed, s.trial = newChain(), accepted, &lapsed{Chain: newHash, Times: 3, Until: noon.Add(-time.Second)}, trying()
		}, want: standing{state: waftv1.ChainState_LOADED, step: stepSwap, serving: goodHash}},
		{name: "a secret is missing", change: func(s *situation) { s.desired, s.unfilled, s.lacksSecret = newChain(), true, "no file" },
			want: standing{state: waftv1.ChainState_REJECTED, step: stepSecrets, reason: "no file", final: true, serving: goodHash}},
		{name: "its secrets are being read", change: func(s *situation) { s.desired, s.unfilled = newChain(), true },
			want: standing{state: waftv1.ChainState_FETCHED, step: stepSecrets, reason: reasonReading, serving: goodHash}},
		{name: "a secret is gone", change: func(s *situation) { *s = keyed(); s.desired, s.lacksSecret = s.good, "no file" },
			want: standing{hash: goodHash, generation: 1, state: waftv1.ChainState_DEGRADED, step: stepSecrets, reason: "it serves with the secrets that it had: no file", secrets: `{"env:A":"1"}`, serving: goodHash}},
		{name: "a secret has another value", change: func(s *situation) { *s = keyed() },
			want: standing{hash: goodHash, generation: 1, state: waftv1.ChainState_SERVING, step: stepServe, secrets: `{"env:A":"1"}`, serving: goodHash}},
		{name: "which takes the place of one on trial", change: func(s *situation) {
			was, is := newChain(), newChain()
			was.Secrets, is.Secrets = []heldSecret{{Ref: "env:A", Version: "1"}}, []heldSecret{{Ref: "env:A", Version: "2"}}
			s.desired, s.trial, s.verdict = is, &trial{chain: is, from: was, since: noon, epoch: 1, before: seeing(1, was.version(), 2, 0)}, accepted
			s.seen = seeing(1, was.version(), 2, 0)
		}, want: standing{state: waftv1.ChainState_SERVING, step: stepServe, secrets: `{"env:A":"1"}`, serving: newHash}},
		{name: "back to the good one from one on trial: what serves meanwhile is not told", change: func(s *situation) {
			s.trial = &trial{chain: goodChain(), from: newChain(), since: noon, epoch: 1, before: seeing(1, newHash, 2, 0)}
			s.seen = seeing(1, newHash, 2, 0)
		}, want: standing{hash: goodHash, generation: 1, state: waftv1.ChainState_LOADED, step: stepSwap}},
		{name: "which the probe rejects", change: func(s *situation) { *s = keyed(); s.verdict = rejected },
			want: standing{hash: goodHash, generation: 1, state: waftv1.ChainState_DEGRADED, step: stepProbe,
				reason: "it serves with the secrets that it had, and the new ones were rejected: no", secrets: `{"env:A":"1"}`, serving: goodHash}},
		{name: "with which a filter would be left out", change: func(s *situation) { *s = keyed(); s.desired, s.spoilt = s.good, "filter two: no" },
			want: standing{hash: goodHash, generation: 1, state: waftv1.ChainState_DEGRADED, step: stepProbe,
				reason: "it serves with the secrets that it had, and the new ones were rejected: filter two: no", secrets: `{"env:A":"1"}`, serving: goodHash}},
		{name: "which Envoy refuses", change: func(s *situation) { *s = keyed(); s.refusal = &refusal{step: stepServe, reason: "why"} },
			want: standing{hash: goodHash, generation: 1, state: waftv1.ChainState_DEGRADED, step: stepServe,
				reason: "it serves with the secrets that it had, and the new ones were refused: why", secrets: `{"env:A":"1"}`, serving: goodHash}},
		{name: "no slot for it", change: func(s *situation) { s.desired, s.misfit = newChain(), "slots" }, want: standing{state: waftv1.ChainState_REJECTED, step: stepLoad, reason: "slots", final: true, serving: goodHash}},
		{name: "Envoy is another", change: func(s *situation) { s.desired, s.verdict, s.blocked = newChain(), accepted, "another" }, want: standing{state: waftv1.ChainState_FETCHED, step: stepLoad, reason: "another", serving: goodHash}},
		{name: "Envoy is down", change: func(s *situation) { s.host = down }, want: standing{hash: goodHash, generation: 1, state: waftv1.ChainState_LOADED, step: stepServe, reason: "Envoy is not up"}},
		{name: "Envoy serves something else", change: func(s *situation) { s.seen = seeing(1, "sha256:else", 1, 0) }, want: standing{hash: goodHash, generation: 1, state: waftv1.ChainState_LOADED, step: stepServe, reason: "Envoy is not up"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := settled()
			test.change(&s)
			if test.want.hash == "" && !test.none {
				test.want.hash, test.want.generation = newHash, 2
			}
			got, ok := stand(s, "fetch trouble", "probe trouble")
			if got != test.want || ok == test.none {
				t.Errorf("stands %+v, %v\nwant   %+v", got, ok, test.want)
			}
		})
	}
}

func TestMeter(t *testing.T) {
	one := &chain{Hash: "one", Filters: []filter{{Name: "a"}, {Name: "b"}, {Name: "silent"}}}
	at := func(epoch int, requests, errors, denied, a, b int64) observation {
		return observation{at: noon, epoch: epoch, requests: requests, errors: errors, denied: denied, deniedKnown: true, seen: map[string]int64{"a": a, "b": b}}
	}
	tally := func(requests, errors, denied, seen int64) counts {
		return counts{requests: requests, errors: errors, denied: denied, seen: seen}
	}
	var m meter
	for _, test := range []struct {
		name    string
		serving *chain
		seen    observation
		want    counts
	}{
		{"begins at zero", one, at(1, 100, 10, 5, 50, 40), counts{}},
		{"counts from there, by the lowest filter", one, at(1, 130, 12, 6, 80, 60), tally(30, 2, 1, 20)},
		{"nothing serves", nil, at(1, 500, 500, 0, 0, 0), tally(30, 2, 1, 20)},
		{"Envoy came up again", one, at(2, 4, 1, 0, 4, 3), tally(34, 3, 1, 23)},
		{"and goes on", one, at(2, 14, 1, 0, 14, 13), tally(44, 3, 1, 33)},
		{"another chain begins at zero", &chain{Hash: "two"}, at(2, 14, 1, 0, 14, 13), counts{}},
		{"without filters nothing is seen by them", &chain{Hash: "two"}, at(2, 15, 1, 0, 14, 13), counts{requests: 1}},
		{"back to the first: at zero", one, at(2, 16, 1, 0, 14, 13), counts{}},
	} {
		m.follow(test.serving, test.seen)
		c := test.serving
		if c == nil {
			c = one
		}
		got := m.total(c)
		if !got.health.Known {
			t.Errorf("%s: the health is not known", test.name)
		}
		if got.health = (model.Health{}); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
