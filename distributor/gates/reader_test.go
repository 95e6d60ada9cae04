package gates_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/gates"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

var about = service.GateSubject{
	Rollout: "edge-1", Release: model.ReleaseID{Name: "edge", Hash: "sha256:ab"}, Wave: 2, Moved: []string{"a.b", "c"}, Waiting: []string{"d"}, Served: 90*time.Second + 999*time.Millisecond,
}

// reader may ask the server, and nobody else.
func reader(t *testing.T, server string) *gates.Reader {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	r, err := gates.New([]string{u.Host})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHosts(t *testing.T) {
	r, err := gates.New([]string{"hook.example", "prometheus.example:9090"})
	if err != nil {
		t.Fatal(err)
	}
	for target, allowed := range map[string]bool{
		"https://hook.example/x": true, "http://HOOK.example/": true, "https://hook.example:443": true, "https://hook.example:8443": false,
		"http://hook.example.evil/": false, "http://evil/?hook.example": false, "http://prometheus.example:9090/p": true,
		"http://prometheus.example": false, "https://hook.example:80": false, "http://169.254.169.254/": false, "http://hook.example@evil/": false,
	} {
		for _, gate := range []model.GateSpec{{Webhook: &model.WebhookGate{URL: target}}, {Prometheus: &model.PrometheusGate{Server: target, Query: "1"}}} {
			if err := r.Check(gate); (err == nil) != allowed {
				t.Errorf("%s %s: %v, want allowed: %v", gate.Name(), target, err, allowed)
			}
		}
	}
	for _, hosts := range [][]string{nil, {""}, {"http://hook.example"}, {"hook.example/../path"}, {"hook.example/a%2fb"}, {"hook.example?x"}, {"me@hook.example"}, {":80"}} {
		if _, err := gates.New(hosts); err == nil {
			t.Errorf("%q were taken for hosts", hosts)
		}
	}
}

// A host that does more than answer gates is asked where it was allowed to be, and nowhere else.
func TestPaths(t *testing.T) {
	r, err := gates.New([]string{"tools.example/hooks/waft", "prometheus.example:9090/prom/"})
	if err != nil {
		t.Fatal(err)
	}
	for target, allowed := range map[string]bool{
		"https://tools.example/hooks/waft": true, "https://tools.example/hooks/waft/": true, "https://tools.example/hooks/waft/edge?x=1": true,
		"https://tools.example/": false, "https://tools.example/hooks": false, "https://tools.example/hooks/waftier": false,
		"https://tools.example/hooks/waft/../../admin": false, "https://tools.example/hooks/waft/%2e%2e/admin": false, "https://tools.example/hooks/waft/..%2fadmin": false,
		"https://tools.example/hooks/waft//../admin": false, "https://tools.example/hooks/waft/.%5cadmin": false, "https://tools.example/hooks/waft/..;/admin": false,
		"http://prometheus.example:9090/prom": true, "http://prometheus.example:9090/": false, "http://other.example/hooks/waft": false,
	} {
		for _, gate := range []model.GateSpec{{Webhook: &model.WebhookGate{URL: target}}, {Prometheus: &model.PrometheusGate{Server: target, Query: "1"}}} {
			if err := r.Check(gate); (err == nil) != allowed {
				t.Errorf("%s %s: %v, want allowed: %v", gate.Name(), target, err, allowed)
			}
		}
	}
}

func TestWebhook(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    model.GateVerdict
		detail  string
	}{
		"passes":          {answer(200, `{"verdict":"pass","detail":"orders flow"}`), model.VerdictPass, "orders flow"},
		"fails":           {answer(200, `{"verdict":"fail","detail":"no orders"}`), model.VerdictFail, "no orders"},
		"cannot tell":     {answer(200, `{"verdict":"inconclusive","detail":"too early"}`), model.VerdictInconclusive, "too early"},
		"another verdict": {answer(200, `{"verdict":"maybe"}`), model.VerdictInconclusive, "maybe"},
		"no verdict":      {answer(200, `{}`), model.VerdictInconclusive, "it should be pass"},
		"no JSON":         {answer(200, `<html>`), model.VerdictInconclusive, "not the JSON"},
		"an error":        {answer(503, `{"verdict":"pass"}`), model.VerdictInconclusive, "503"},
		"created":         {answer(201, `{"verdict":"pass"}`), model.VerdictInconclusive, "201"},
		"too long":        {answer(200, `{"verdict":"pass","detail":"`+strings.Repeat("x", 1<<17)+`"}`), model.VerdictInconclusive, "longer"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.example/", http.StatusFound)
		}, model.VerdictInconclusive, "302"},
		"breaks off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, model.VerdictInconclusive, "did not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(test.handler)
			defer server.Close()
			verdict, detail := reader(t, server.URL).Read(t.Context(), model.GateSpec{Webhook: &model.WebhookGate{URL: server.URL + "/gate"}}, about)
			if verdict != test.want || !strings.Contains(detail, test.detail) {
				t.Errorf("%s: %s; want %s: %s", verdict, detail, test.want, test.detail)
			}
		})
	}
}

func TestWebhookIsToldTheWave(t *testing.T) {
	var got map[string]any
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s with %s", r.Method, r.Header.Get("Content-Type"))
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(`{"verdict":"pass"}`))
	}))
	defer server.Close()
	if verdict, detail := reader(t, server.URL).Read(t.Context(), model.GateSpec{Webhook: &model.WebhookGate{URL: server.URL}}, about); verdict != model.VerdictPass {
		t.Fatal(detail)
	}
	if got["rollout"] != "edge-1" || got["release"] != "edge@sha256:ab" || got["wave"] != 2.0 || len(got["moved"].([]any)) != 2 || len(got["waiting"].([]any)) != 1 || got["served"] != 90.0 || len(got) != 6 {
		t.Errorf("it was told %v", got)
	}
}

func TestNobodyAnswers(t *testing.T) {
	hangs := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hangs }))
	defer server.Close()
	defer close(hangs)
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, target := range map[string]string{"a server that hangs": server.URL, "a server that is gone": gone.URL} {
		for _, gate := range []model.GateSpec{{Webhook: &model.WebhookGate{URL: target}}, {Prometheus: &model.PrometheusGate{Server: target, Query: "up", Max: new(1.0)}}} {
			ctx, cancel := contextWithTimeout(t, 200*time.Millisecond)
			if verdict, detail := reader(t, target).Read(ctx, gate, about); verdict != model.VerdictInconclusive || !strings.Contains(detail, "did not answer") {
				t.Errorf("%s, %s: %s: %s", name, gate.Name(), verdict, detail)
			}
			cancel()
		}
	}
	// The hosts may be others than when the rollout started.
	if verdict, _ := reader(t, "http://hook.example").Read(t.Context(), model.GateSpec{Webhook: &model.WebhookGate{URL: server.URL}}, about); verdict != model.VerdictInconclusive {
		t.Error("a host that is not allowed was asked")
	}
}
