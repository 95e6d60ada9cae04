package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waft-project/waft/demo/fleet"
)

// subject is what a webhook is documented to be sent, and nothing else.
type subject struct {
	Rollout string   `json:"rollout"`
	Release string   `json:"release"`
	Wave    int      `json:"wave"`
	Moved   []string `json:"moved"`
	Waiting []string `json:"waiting"`
	Served  int      `json:"served"`
}

// hook is somebody's program that gates ask. It tries the moved nodes for itself, unless it was told to answer otherwise.
type hook struct {
	*httptest.Server
	fleet *fleet.Fleet

	mu        sync.Mutex
	asked     []subject
	undecoded []string
	otherwise http.HandlerFunc
}

func startHook(t *testing.T, f *fleet.Fleet) *hook {
	h := &hook{fleet: f}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

// host is what waft serve --gate-host takes.
func (h *hook) host() string { return strings.TrimPrefix(h.URL, "http://") }

// answer has it answer otherwise from now on; nil: by what it sees.
func (h *hook) answer(otherwise http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.otherwise = otherwise
}

// askedAbout are the questions about a rollout so far.
func (h *hook) askedAbout(rollout string) []subject {
	h.mu.Lock()
	defer h.mu.Unlock()
	var about []subject
	for _, s := range h.asked {
		if s.Rollout == rollout {
			about = append(about, s)
		}
	}
	return about
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var about subject
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err == nil {
		err = decoder.Decode(&about)
	}
	h.mu.Lock()
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/orders" || r.Header.Get("Content-Type") != "application/json" {
		h.undecoded = append(h.undecoded, fmt.Sprintf("%s %s, %s: %s: %v", r.Method, r.URL.Path, r.Header.Get("Content-Type"), body, err))
	}
	h.asked = append(h.asked, about)
	otherwise := h.otherwise
	h.mu.Unlock()
	if otherwise != nil {
		otherwise(w, r)
		return
	}
	verdict, detail := h.order(r, about.Moved)
	_ = json.NewEncoder(w).Encode(map[string]string{"verdict": verdict, "detail": detail})
}

// order tries the moved nodes.
func (h *hook) order(r *http.Request, moved []string) (verdict, detail string) {
	const orders = 12
	failed := 0
	for _, id := range moved {
		for range orders {
			if _, err := fleet.Ask(r.Context(), h.fleet.Listeners()[id], fleet.Visitor{Name: "an order", Path: "/", Status: http.StatusOK}); err != nil {
				failed++
			}
		}
	}
	detail = fmt.Sprintf("%d of %d orders failed on %s", failed, orders*len(moved), strings.Join(moved, ", "))
	if failed > 0 {
		return "fail", detail
	}
	return "pass", detail
}

// A webhook judges what real Envoys serve: it is told which nodes were moved, lets a good release pass wave by wave, and has a bad one taken back from the first.
// One that does not say pass or fail leaves the rollout to a person, with its own words.
func TestWebhookJudges(t *testing.T) {
	onlyInFull(t)
	t.Parallel()
	f := newFleet(t)
	h := startHook(t, f)
	f.ServeFlags = []string{"--gate-host", h.host()}
	started(t, f, 2)
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "one", "stamp", `{value: "1"}`), `[{percent: 100}]`)
	asks := fmt.Sprintf("gates: [{webhook: {name: orders, url: %q, every: 1s}}]", h.URL+"/orders")
	waves := func(soak string) string {
		return "[{nodes: 1, soak: " + soak + ", " + asks + "}, {percent: 100, " + asks + "}]"
	}

	two := createRelease(t, f, "two", "stamp", `{value: "2"}`)
	rollOut(t, f, "good", two, waves("2s"))
	for _, n := range f.Nodes() {
		awaitStamp(t, n, "2")
	}
	s, err := statusOf(t.Context(), f, "good")
	if err != nil {
		t.Fatal(err)
	}
	first := s.Waves[0].Nodes[0]
	other := map[string]string{"n1": "n2", "n2": "n1"}[first]
	want := map[int]subject{
		1: {Rollout: "good", Release: two, Wave: 1, Moved: []string{first}, Waiting: []string{other}},
		2: {Rollout: "good", Release: two, Wave: 2, Moved: []string{"n1", "n2"}, Waiting: []string{}},
	}
	seen, served := map[int]bool{}, 0
	for _, about := range h.askedAbout("good") {
		seen[about.Wave] = true
		if about.Wave == 1 {
			served = max(served, about.Served)
		}
		about.Served = 0
		if !reflect.DeepEqual(about, want[about.Wave]) {
			t.Errorf("it was asked about %+v, want %+v", about, want[about.Wave])
		}
	}
	if !seen[1] || !seen[2] {
		t.Errorf("it was asked about the waves %v, want both", seen)
	}
	// The answer that lets the wave pass is one to a question from after the soak, in which every node served.
	if served < 2 {
		t.Errorf("after a soak of 2s it was told that the wave's nodes have served for %d s", served)
	}
	wantHistory(t, f, "good", `webhook/orders +pass: 0 of 12 orders failed on `+first, `webhook/orders +pass: 0 of 24 orders failed on n1, n2`)

	bad := createRelease(t, f, "bad", "stamp", `{value: bad, failEvery: 3}`)
	startRollout(t, f, "bad", bad, waves("10m"))
	ended := awaitRollout(t, f, "bad", "to be rolled back", phaseIs("RolledBack"))
	if ended.Wave != 1 || len(ended.Nodes) != 1 || !strings.Contains(ended.Message, "webhook/orders") {
		t.Errorf("it got to wave %d, and to %+v: %s", ended.Wave, ended.Nodes, ended.Message)
	}
	wantHistory(t, f, "bad", `webhook/orders +fail: 4 of 12 orders failed on n[12]\n`)
	for _, n := range f.Nodes() {
		awaitStamp(t, n, "2")
	}

	good := createRelease(t, f, "three", "stamp", `{value: "3"}`)
	for _, test := range []struct {
		name, says string
		answer     http.HandlerFunc
		// after has the rollout end, once it waits for a person.
		after func(name string)
		phase string
	}{
		{
			name: "errs", says: "it answered 500 Internal Server Error", phase: "RolledBack",
			answer: func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, `{"verdict":"pass"}`, http.StatusInternalServerError)
			},
			after: func(name string) {
				mustRun(t, f, append([]string{"rollout", "undo", name, "--reason", "test"}, f.Server()...)...)
			},
		},
		{
			name: "babbles", says: "its answer is not the JSON that it should be", phase: "RolledBack",
			answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>all is well</html>") },
			// Paused, it is asked on, and what it says then counts.
			after: func(string) {
				h.answer(func(w http.ResponseWriter, _ *http.Request) {
					_, _ = io.WriteString(w, `{"verdict":"fail","detail":"no orders"}`)
				})
			},
		},
		{
			name: "hangs", says: "it did not answer", phase: "Done",
			answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			after: func(name string) {
				h.answer(nil)
				mustRun(t, f, append([]string{"rollout", "resume", name, "--reason", "test"}, f.Server()...)...)
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			h.answer(test.answer)
			startRollout(t, f, test.name, good, waves("1s"))
			waits := awaitRollout(t, f, test.name, "to pause", phaseIs("Paused"))
			for _, want := range []string{"webhook/orders", test.says} {
				if !strings.Contains(waits.Message, want) {
					t.Errorf("it does not say %q: %s", want, waits.Message)
				}
			}
			if len(waits.Nodes) != 1 {
				t.Errorf("it reached %+v", waits.Nodes)
			}
			test.after(test.name)
			awaitRollout(t, f, test.name, "to end", phaseIs(test.phase))
			stamp := map[string]string{"Done": "3", "RolledBack": "2"}[test.phase]
			for _, n := range f.Nodes() {
				awaitStamp(t, n, stamp)
			}
		})
	}
	// It tries for so long that it is under way when the soak ends, and what it says then counts for nothing.
	t.Run("takes its time", func(t *testing.T) {
		const takes = 8 * time.Second // of the 10 that it has
		h.answer(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(takes):
				_, _ = io.WriteString(w, `{"verdict":"pass","detail":"orders flow"}`)
			case <-r.Context().Done():
			}
		})
		slow := createRelease(t, f, "four", "stamp", `{value: "4"}`)
		startRollout(t, f, "slow", slow, waves("1s"))
		ended := awaitRollout(t, f, "slow", "to end, or to pause", func(s rolloutStatus) bool { return s.Phase == "Done" || s.Phase == "Paused" || s.Phase == "RolledBack" })
		if ended.Phase != "Done" {
			t.Errorf("it is %s: %s", ended.Phase, ended.Message)
		}
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.undecoded) > 0 {
		t.Errorf("it was asked otherwise than documented: %q", h.undecoded)
	}
}

// wantHistory looks for lines in what `waft rollout history` prints, by regular expressions of their ends.
func wantHistory(t *testing.T, f *fleet.Fleet, name string, lines ...string) {
	t.Helper()
	history := mustRun(t, f, append([]string{"rollout", "history", name}, f.Server()...)...)
	for _, line := range lines {
		if !regexp.MustCompile(line).MatchString(history) {
			t.Errorf("the history of %s does not say %q:\n%s", name, line, history)
		}
	}
}
