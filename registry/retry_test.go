package registry

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	for _, tc := range []struct {
		name    string
		attempt int
		after   time.Duration
		random  float64
		want    time.Duration
		again   bool
	}{
		{"the first, least", 0, 0, 0, 50 * time.Millisecond, true},
		{"the first, most", 0, 0, 0.999999, 100 * time.Millisecond, true},
		{"it doubles", 2, 0, 0, 200 * time.Millisecond, true},
		{"it ends", 7, 0, 0, 0, false},
		{"it is bounded", 6, 0, 0, 1500 * time.Millisecond, true},
		{"never before the registry asked for it", 0, 5 * time.Second, 0.5, 5 * time.Second, true},
		{"the longest that is waited", 0, maxRetryAfter, 0, maxRetryAfter, true},
		{"longer than that is not waited", 0, maxRetryAfter + 1, 0, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := backoff{retries: 7, random: func() float64 { return tc.random }}
			got, again := b.next(tc.attempt, tc.after)
			if got.Round(time.Millisecond) != tc.want || again != tc.again {
				t.Errorf("have %s, %v; want %s, %v", got, again, tc.want, tc.again)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              -1,
		"soon":                          -1,
		"7":                             7 * time.Second,
		" 7 ":                           7 * time.Second,
		"-7":                            0,
		"99999999999999":                (1 << 31) * time.Second,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second,
		"Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		got, ok := retryAfter(&http.Response{Header: http.Header{"Retry-After": {text}}}, now)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// fixedClock stands still unless it is set.
type fixedClock struct {
	machineClock
	now time.Time
}

func (c *fixedClock) Now() time.Time { return c.now }

// The life of a circuit, step by step.
func TestBreaker(t *testing.T) {
	clock := &fixedClock{now: time.Unix(1000, 0)}
	b := &breakers{clock: clock, random: func() float64 { return 1 }, hosts: map[string]*circuit{}}
	const host = "registry.example"
	cause := errors.New("connection refused")
	allowed := func(want bool) {
		t.Helper()
		err := b.allow(host)
		if (err == nil) != want {
			t.Fatalf("allow: %v", err)
		}
		if err != nil && (!strings.Contains(err.Error(), host) || !strings.Contains(err.Error(), "connection refused")) {
			t.Fatalf("it does not say what and why: %v", err)
		}
	}
	fail := func() { t.Helper(); allowed(true); b.failed(host, cause, 0) }

	for range breakerThreshold - 1 {
		fail()
	}
	allowed(true) // one failure is missing
	b.succeeded(host)
	for range breakerThreshold {
		fail()
	}
	allowed(false)
	if err := b.allow("other.example"); err != nil {
		t.Errorf("another host is held responsible: %v", err)
	}
	if err := b.allow(host); !strings.Contains(err.Error(), "until 00:16:41Z (1s)") {
		t.Errorf("it does not say until when: %v", err)
	}

	// The pause ends: one probe, the others wait; the probe fails, and the pause doubles.
	for _, pause := range []time.Duration{1, 2, 4, 8, 10, 10} {
		clock.now = clock.now.Add(pause*time.Second - time.Millisecond)
		allowed(false)
		clock.now = clock.now.Add(time.Millisecond)
		allowed(true)
		allowed(false)
		b.failed(host, cause, 0)
	}

	// A probe whose caller goes away leaves the place to the next one.
	clock.now = clock.now.Add(breakerMaxPause)
	allowed(true)
	b.released(host)
	allowed(true)

	// A head comes: the circuit is closed, and one broken body is enough to open it.
	b.answered(host)
	allowed(true)
	b.failed(host, cause, 0)
	allowed(false)

	// A whole answer: everything is forgotten.
	clock.now = clock.now.Add(breakerMaxPause)
	allowed(true)
	b.answered(host)
	b.succeeded(host)
	for range breakerThreshold - 1 {
		fail()
	}
	allowed(true)
	if len(b.hosts) != 1 {
		t.Errorf("%d hosts are remembered", len(b.hosts))
	}
}

func TestBreakersAreBounded(t *testing.T) {
	b := &breakers{clock: machineClock{}, random: func() float64 { return 0 }, hosts: map[string]*circuit{}}
	for i := range 3 * maxCircuits {
		b.failed(strings.Repeat("x", i), errors.New("away"), 0)
	}
	if len(b.hosts) > maxCircuits {
		t.Errorf("%d hosts are remembered", len(b.hosts))
	}
}

func TestRangeFits(t *testing.T) {
	for _, tc := range []struct {
		text  string
		first int64
		size  int64
		want  bool
	}{
		{"bytes 5-9/10", 5, 10, true},
		{"bytes 5-9/*", 5, 10, true},
		{"bytes 5-9/10", 5, 0, true},
		{"bytes 4-9/10", 5, 10, false},
		{"bytes 5-8/10", 5, 10, false},
		{"bytes 5-8/10", 5, 0, false},
		{"bytes 5-9/11", 5, 10, false},
		{"bytes */10", 5, 10, false},
		{"items 5-9/10", 5, 10, false},
		{"", 5, 10, false},
	} {
		if got := rangeFits(tc.text, tc.first, tc.size); got != tc.want {
			t.Errorf("%q from %d of %d: %v", tc.text, tc.first, tc.size, got)
		}
	}
}

func TestReadTokenLife(t *testing.T) {
	for body, want := range map[string]time.Duration{
		`{"token":"x","expires_in":300}`: 300 * time.Second,
		`{"token":"x"}`:                  defaultTokenLife,
		`{"expires_in":0}`:               defaultTokenLife,
		`{"expires_in":-5}`:              defaultTokenLife,
		`{"expires_in":1e300}`:           365 * 24 * time.Hour,
		`{"expires_in":"soon"}`:          defaultTokenLife,
		`no JSON`:                        defaultTokenLife,
	} {
		if got := readTokenLife([]byte(body)); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
}
