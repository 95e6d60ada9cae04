package filtertest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// Report is what came of running scenario files on one backend.
type Report struct {
	Backend   string   `json:"backend"` // for example "wazero envoy-1.36" or "envoy 1.36.4"
	Scenarios []Result `json:"scenarios"`
}

// OK says whether every scenario passed. A report without scenarios is not OK.
func (r Report) OK() bool {
	return len(r.Scenarios) > 0 && !slices.ContainsFunc(r.Scenarios, func(s Result) bool { return !s.Pass })
}

// Failed counts the scenarios that did not pass.
func (r Report) Failed() int {
	n := 0
	for _, s := range r.Scenarios {
		if !s.Pass {
			n++
		}
	}
	return n
}

// Result is what came of one scenario, or of a file's configError.
type Result struct {
	File        string        `json:"file"`
	Name        string        `json:"name"`
	Pass        bool          `json:"pass"`
	Differences []Difference  `json:"differences,omitempty"`
	Duration    time.Duration `json:"duration_ns"`
	Observed    Observed      `json:"observed"`
}

// Difference is one thing that is not as it should be.
type Difference struct {
	What string `json:"what"` // for example "response.status"
	Want string `json:"want"`
	Got  string `json:"got"`
}

// String writes the difference on one line.
func (d Difference) String() string { return fmt.Sprintf("%s: want %s, got %s", d.What, d.Want, d.Got) }

// Observed is what a backend saw in one scenario, after normalisation.
type Observed struct {
	Exchanges []Exchange `json:"exchanges,omitempty"` // one for each repetition
	// Clusters are the callouts that reached each cluster, in the order of their paths, then of their bodies: those that a filter makes
	// at once arrive in any order.
	Clusters map[string][]ObservedRequest `json:"clusters,omitempty"`
	Metrics  map[string]Metric            `json:"metrics,omitempty"` // those that changed, and every gauge
	Logs     []string                     `json:"logs,omitempty"`
	// StartLogs are what was logged while the plugin was started and configured; only in a file's first result. Envoy starts a plugin
	// several times, once for each of its VMs.
	StartLogs []string `json:"start_logs,omitempty"`
	// ConfigRejected says that the configuration was refused; only where the file has a configError.
	ConfigRejected bool `json:"config_rejected,omitempty"`
	// Error is a crash of the guest, or of the backend.
	Error string `json:"error,omitempty"`
}

// Exchange is one request and its answer, or one connection.
type Exchange struct {
	Upstream *ObservedRequest  `json:"upstream,omitempty"` // nil: the request did not reach the upstream
	Response *ObservedResponse `json:"response,omitempty"` // nil: the client got no response
	// Connection is what came of a connection, in the place of both.
	Connection *ObservedConnection `json:"connection,omitempty"`
}

// ObservedRequest is a request as the upstream got it. Values of a header are in their order.
type ObservedRequest struct {
	Method    string              `json:"method"`
	Path      string              `json:"path"`
	Authority string              `json:"authority"`
	Headers   map[string][]string `json:"headers"`
	Body      string              `json:"body,omitempty"`
	Trailers  map[string][]string `json:"trailers,omitempty"`
	Messages  []string            `json:"messages,omitempty"` // of a gRPC call, in the place of a body
}

// ObservedResponse is a response as the client got it.
type ObservedResponse struct {
	Status   int                 `json:"status"`
	Headers  map[string][]string `json:"headers"`
	Body     string              `json:"body,omitempty"`
	Trailers map[string][]string `json:"trailers,omitempty"`
}

// Metric is what became of a metric in a scenario: a counter's growth, a gauge's value, a histogram's new samples.
type Metric struct {
	Type  string `json:"type"`
	Value int64  `json:"value"`
}

// judge compares what was seen with what a scenario wants.
func judge(s Scenario, o Observed) []Difference {
	var ds []Difference
	add := func(what, want, got string) { ds = append(ds, Difference{what, want, got}) }
	if o.Error != "" {
		add("filter", "no crash", o.Error)
	}
	for i, e := range o.Exchanges {
		at := ""
		if len(o.Exchanges) > 1 {
			at = fmt.Sprintf(" (%s %d of %d)", e.what(), i+1, len(o.Exchanges))
		}
		judgeExchange(s.Want, e, func(what, want, got string) { add(what+at, want, got) })
	}
	for _, name := range sortedKeys(s.Want.Clusters) {
		judgeCallouts(name, s.Want.Clusters[name], o.Clusters[name], add)
	}
	for _, name := range sortedKeys(s.Want.Metrics) {
		want := s.Want.Metrics[name]
		if m := o.Metrics[name]; m.Value != want {
			add("metrics."+name, fmt.Sprint(want), fmt.Sprint(m.Value)+knownMetrics(o.Metrics, name))
		}
	}
	for _, part := range s.Want.Logs {
		if !slices.ContainsFunc(o.Logs, func(l string) bool { return strings.Contains(l, part) }) {
			add("logs", fmt.Sprintf("a line with %q", part), quoteLines(o.Logs))
		}
	}
	return ds
}

// what an exchange is.
func (e Exchange) what() string {
	if e.Connection != nil {
		return "connection"
	}
	return "request"
}

func judgeExchange(w Want, e Exchange, add func(what, want, got string)) {
	if e.Connection != nil {
		judgeConnection(w, *e.Connection, add)
		return
	}
	switch {
	case w.NoUpstream && e.Upstream != nil:
		add("upstream", "none", e.Upstream.Method+" "+e.Upstream.Path)
	case w.Upstream != nil && e.Upstream == nil:
		got := "none"
		if e.Response != nil {
			got += fmt.Sprintf("; the client got %d %q", e.Response.Status, e.Response.Body)
		}
		add("upstream", "a request", got)
	case w.Upstream != nil:
		judgeRequest("upstream", *w.Upstream, *e.Upstream, add)
	}
	if w.NoResponse && e.Response != nil {
		add("response", "none", fmt.Sprintf("%d %q", e.Response.Status, e.Response.Body))
	}
	if w.Response == nil {
		return
	}
	r, got := w.Response, e.Response
	if got == nil {
		add("response", "a response", "none: the stream was reset, or the filter paused it for ever")
		return
	}
	if r.Status != 0 && r.Status != got.Status {
		add("response.status", fmt.Sprint(r.Status), fmt.Sprintf("%d %q", got.Status, got.Body))
	}
	judgeHeaders("response", r.Headers, r.Absent, got.Headers, add)
	for _, name := range r.Varies {
		if _, ok := got.Headers[name]; !ok {
			add("response.headers."+name, "there", "absent")
		}
	}
	judgeBody("response.body", r.Body, got.Body, add)
	if !strings.Contains(got.Body, r.BodyContains) {
		add("response.bodyContains", fmt.Sprintf("%q", r.BodyContains), fmt.Sprintf("%q", got.Body))
	}
}

func judgeRequest(what string, w WantRequest, got ObservedRequest, add func(what, want, got string)) {
	judgeText(what+".method", w.Method, got.Method, add)
	judgeText(what+".path", w.Path, got.Path, add)
	judgeText(what+".authority", w.Authority, got.Authority, add)
	judgeHeaders(what, w.Headers, w.Absent, got.Headers, add)
	judgeBody(what+".body", w.Body, got.Body, add)
}

// judgeCallouts compares what reached a cluster with what a scenario wants.
func judgeCallouts(name string, w WantCallout, got []ObservedRequest, add func(what, want, got string)) {
	what := "clusters." + name
	if len(got) != w.Times {
		var paths []string
		for _, r := range got {
			paths = append(paths, r.Method+" "+r.Path)
		}
		add(what, fmt.Sprintf("%d requests", w.Times), fmt.Sprintf("%d: %q", len(got), paths))
	}
	for i, r := range got {
		at := what
		if len(got) > 1 {
			at = fmt.Sprintf("%s[%d]", what, i)
		}
		judgeRequest(at, w.Each, r, add)
		if w.Messages != nil && !slices.Equal(w.Messages, r.Messages) {
			add(at+".messages", fmt.Sprintf("%q", w.Messages), fmt.Sprintf("%q", r.Messages))
		}
	}
}

// sortCallouts puts callouts into the order of Observed.Clusters.
func sortCallouts(rs []ObservedRequest) []ObservedRequest {
	slices.SortStableFunc(rs, func(a, b ObservedRequest) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Body, b.Body), slices.Compare(a.Messages, b.Messages))
	})
	return rs
}

func judgeText(what, want, got string, add func(what, want, got string)) {
	if want != "" && want != got {
		add(what, want, got)
	}
}

func judgeBody(what string, want *string, got string, add func(what, want, got string)) {
	if want != nil && *want != got {
		add(what, fmt.Sprintf("%q", *want), fmt.Sprintf("%q", got))
	}
}

func judgeHeaders(what string, want map[string][]string, absent []string, got map[string][]string, add func(what, want, got string)) {
	for _, name := range sortedKeys(want) {
		if g := got[name]; !slices.Equal(want[name], g) {
			add(what+".headers."+name, fmt.Sprintf("%q", want[name]), fmt.Sprintf("%q", g))
		}
	}
	for _, name := range absent {
		if g, ok := got[name]; ok {
			add(what+".headers."+name, "absent", fmt.Sprintf("%q", g))
		}
	}
}

// knownMetrics lists other metrics, for a message about one that is wrong.
func knownMetrics(ms map[string]Metric, except string) string {
	var out []string
	for _, name := range sortedKeys(ms) {
		if name != except {
			out = append(out, fmt.Sprintf("%s %d", name, ms[name].Value))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return " (others: " + strings.Join(out, ", ") + ")"
}

func quoteLines(lines []string) string {
	if len(lines) == 0 {
		return "no log line"
	}
	return fmt.Sprintf("%q", lines)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// judgeConfigError compares what configuring gave with the file's configError.
func judgeConfigError(f File, o Observed) []Difference {
	if !o.ConfigRejected {
		return []Difference{{"config", "rejected: " + f.ConfigError, "accepted"}}
	}
	if !slices.ContainsFunc(o.Logs, func(l string) bool { return strings.Contains(l, f.ConfigError) }) {
		return []Difference{{"configError", fmt.Sprintf("a log line with %q", f.ConfigError), quoteLines(o.Logs)}}
	}
	return nil
}

// configErrorName is the name of the result of a configError file.
const configErrorName = "configuration is rejected"

// varying stands in an observation for a value that is different in each run.
const varying = "(varies)"

// mask puts varying in the place of what a scenario says to vary, so that backends can be compared.
func (o *Observed) mask(w Want) {
	if w.Response == nil {
		return
	}
	for _, e := range o.Exchanges {
		for _, name := range w.Response.Varies {
			if e.Response != nil && e.Response.Headers[name] != nil {
				e.Response.Headers[name] = []string{varying}
			}
		}
	}
}

// trailerMap makes a map of trailers; nil if there are none.
func trailerMap(hs wasmhost.Headers) map[string][]string {
	if len(hs) == 0 {
		return nil
	}
	return headerMap(hs, nil)
}

// headerMap makes a map of normalised headers.
func headerMap(hs wasmhost.Headers, ignored map[string]string) map[string][]string {
	out := map[string][]string{}
	for _, h := range hs {
		if _, ok := ignored[h.Name]; ok || strings.HasPrefix(h.Name, ":") {
			continue
		}
		out[h.Name] = append(out[h.Name], h.Value)
	}
	return out
}
