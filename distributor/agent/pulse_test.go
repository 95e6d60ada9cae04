package agent

import (
	"testing"
	"time"
)

func TestPulse(t *testing.T) {
	type look struct {
		second, epoch       int
		hangs, uptime, want int64 // want is since which second; -1: no worker hangs
	}
	for name, looks := range map[string][]look{
		"nothing hangs":                        {{0, 1, 0, 5, -1}, {5, 1, 0, 10, -1}, {60, 1, 0, 10, -1}},
		"one hangs":                            {{0, 1, 0, 5, -1}, {4, 1, 1, 5, 4}, {9, 1, 1, 5, 4}, {30, 1, 1, 5, 4}},
		"one was late":                         {{0, 1, 0, 5, -1}, {4, 1, 1, 5, 4}, {8, 1, 1, 12, -1}, {30, 1, 1, 12, -1}},
		"a round ended as it began to hang":    {{0, 1, 0, 5, -1}, {4, 1, 1, 10, 4}, {20, 1, 1, 10, 4}},
		"another one hangs as well":            {{0, 1, 0, 5, -1}, {4, 1, 1, 5, 4}, {8, 1, 2, 5, 4}},
		"another life begins anew":             {{0, 1, 0, 5, -1}, {4, 1, 1, 5, 4}, {30, 2, 0, 1, -1}, {40, 2, 1, 1, 40}},
		"it hung before it was watched, maybe": {{0, 1, 1, 50, 0}, {5, 1, 1, 55, -1}},
	} {
		t.Run(name, func(t *testing.T) {
			var p pulse
			for _, l := range looks {
				want := time.Time{}
				if l.want >= 0 {
					want = noon.Add(time.Duration(l.want) * time.Second)
				}
				got := p.hungSince(observation{at: noon.Add(time.Duration(l.second) * time.Second), epoch: l.epoch, hangs: l.hangs, uptime: l.uptime})
				if !got.Equal(want) {
					t.Errorf("after %d s: since %s, want %s", l.second, got, want)
				}
			}
		})
	}
}

// What is not answered is no health, and neither is an Envoy with a worker that hangs.
func TestServingIsNotSaidOfWhatIsNotSeen(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*situation)
		want   string
		reason string
	}{
		{"it answers", func(*situation) {}, goodHash, ""},
		{"it has not answered for a moment", func(s *situation) { s.now = noon.Add(blindLimit - 1) }, goodHash, ""},
		{"it does not answer", func(s *situation) { s.now = noon.Add(blindLimit) }, "", "Envoy does not answer"},
		{"others run it, and it does not answer", func(s *situation) { s.parent, s.now = false, noon.Add(blindLimit) }, "", "Envoy does not answer"},
		{"on trial", func(s *situation) { s.desired, s.trial, s.seen = newChain(), onTrial(), seeing(1, newHash, 2, 0) }, newHash, ""},
		{"on trial, and it does not answer", func(s *situation) {
			s.desired, s.trial, s.seen, s.now = newChain(), onTrial(), seeing(1, newHash, 2, 0), noon.Add(blindLimit)
		}, "", "Envoy does not answer"},
		{"it may be loading", func(s *situation) { s.desired, s.now = newChain(), noon.Add(blindLimit) }, goodHash, ""},
		{"it takes a chain into use", func(s *situation) { s.desired, s.trial, s.now = newChain(), trying(), noon.Add(blindLimit) }, goodHash, ""},
		{"it is not loading for ever", func(s *situation) { s.desired, s.now = newChain(), noon.Add(time.Hour) }, "", ""},
		{"a worker hangs", func(s *situation) { s.seen.hungSince = noon }, "", "a worker of Envoy hangs"},
		{"it is not up", func(s *situation) { s.host = starting }, "", "Envoy is not up"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := settled()
			test.change(&s)
			if got := s.serving(); got != test.want {
				t.Errorf("serves %q, want %q", got, test.want)
			}
			if got, _ := stand(s, "", ""); test.reason != "" && got.reason != test.reason {
				t.Errorf("because %q, want %q", got.reason, test.reason)
			}
		})
	}
}
