package gates_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/gates/prometheustest"
	"github.com/waft-project/waft/distributor/model"
)

func contextWithTimeout(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// TestPrometheusAnswers takes what a server says that has nothing to say, or is none.
func TestPrometheusAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		detail string
	}{
		"an error":       {422, `{"status":"error","errorType":"execution","error":"query timed out"}`, "query timed out"},
		"no Prometheus":  {200, `<html>`, "did not answer"},
		"nothing":        {200, `{"status":"success","data":{"resultType":"vector","result":[]}}`, "no answer"},
		"many":           {200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]},{"metric":{},"value":[1,"2"]}]}}`, "2 answers"},
		"a text":         {200, `{"status":"success","data":{"resultType":"string","result":[1,"x"]}}`, "string"},
		"no number":      {200, `{"status":"success","data":{"resultType":"scalar","result":[1,"NaN"]}}`, "NaN"},
		"over the hills": {302, ``, "did not answer"},
		"other JSON":     {200, `{}`, "no value"},
		"no data":        {200, `{"status":"success","data":null}`, "no value"},
		"null":           {200, `{"status":"success","data":{"resultType":"vector","result":[null]}}`, "no value"},
		"no sample":      {200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}`, "no value"},
		"no scalar":      {200, `{"status":"success","data":{"resultType":"scalar","result":null}}`, "did not answer"},
		"a histogram":    {200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"2","sum":"3","buckets":[[3,"-0.1","0.1","2"]]}]}]}}`, "histogram_quantile"},
		"a flood":        {200, `{"status":"success","warnings":["` + strings.Repeat("w", 5<<20) + `"],"data":{"resultType":"scalar","result":[1,"0"]}}`, "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Location", "http://evil.example/")
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			}))
			defer server.Close()
			gate := model.GateSpec{Prometheus: &model.PrometheusGate{Server: server.URL, Query: "up", Max: new(1.0)}}
			if verdict, detail := reader(t, server.URL).Read(t.Context(), gate, about); verdict != model.VerdictInconclusive || !strings.Contains(detail, test.detail) {
				t.Errorf("%s: %s; want inconclusive: %s", verdict, detail, test.detail)
			}
		})
	}
}

// A query is asked with what it is about in the place of its variables.
func TestQueryIsFilled(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.FormValue("query")
		_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"scalar","result":[1,"0"]}}`))
	}))
	defer server.Close()
	for served, in := range map[time.Duration]string{0: "1ms", 900 * time.Millisecond: "1ms", 1900 * time.Millisecond: "1s", 90*time.Second + 999*time.Millisecond: "90s", 3 * time.Hour: "10800s"} {
		about := about
		about.Served = served
		gate := model.GateSpec{Prometheus: &model.PrometheusGate{Server: server.URL, Query: `rate(x{a="$rollout",b="$release",c="$wave",d=~"$moved"}[$served])`, Max: new(1.0)}}
		if verdict, detail := reader(t, server.URL).Read(t.Context(), gate, about); verdict != model.VerdictPass {
			t.Errorf("%s: %s", verdict, detail)
		}
		if want := `rate(x{a="edge-1",b="edge@sha256:ab",c="2",d=~"a\\.b|c"}[` + in + `])`; got != want {
			t.Errorf("served for %s, it was asked %s, want %s", served, got, want)
		}
	}
}

// TestRealPrometheus asks one that scrapes a page of ours.
func TestRealPrometheus(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i, node := range []string{"a.b", "c", "d", "aXb"} {
			fmt.Fprintf(w, "orders{node=%q} %d\n", node, 10+i)
		}
	}))
	defer page.Close()
	server := prometheustest.Start(t, 100*time.Millisecond, prometheustest.Target{Address: strings.TrimPrefix(page.URL, "http://"), Path: "/"}).URL
	r := reader(t, server)
	ask := func(query string, least, most *float64) (model.GateVerdict, string) {
		return r.Read(t.Context(), model.GateSpec{Prometheus: &model.PrometheusGate{Server: server, Query: query, Min: least, Max: most}}, about)
	}
	// The first scrape takes its time.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if verdict, detail := ask("count(orders)", new(4.0), nil); verdict == model.VerdictPass {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("it has scraped nothing: %s", detail)
		}
	}
	for _, test := range []struct {
		query       string
		least, most *float64
		want        model.GateVerdict
		detail      string
	}{
		{`sum(orders{node=~"$moved"})`, new(21.0), new(21.0), model.VerdictPass, "21 is within 21 to 21"}, // a.b and c, not aXb
		{`sum(orders{node=~"$moved"})`, nil, new(20.0), model.VerdictFail, "21 is more than 20"},
		{`scalar(sum(orders))`, new(50.0), nil, model.VerdictFail, "46 is less than 50"},
		{`$wave`, new(2.0), new(2.0), model.VerdictPass, "2 is within"},
		{`count(orders{node!="$rollout",node!="$release"})`, new(4.0), nil, model.VerdictPass, ""},
		{`0/0`, nil, new(1.0), model.VerdictInconclusive, "NaN"},
		{`orders`, nil, new(1.0), model.VerdictInconclusive, "4 answers"},
		{`nothing_of_the_kind`, nil, new(1.0), model.VerdictInconclusive, "no answer"},
		{`sum(`, nil, new(1.0), model.VerdictInconclusive, "parse error"},
		{`orders[1m]`, nil, new(1.0), model.VerdictInconclusive, "answers with a matrix"},
	} {
		if verdict, detail := ask(test.query, test.least, test.most); verdict != test.want || !strings.Contains(detail, test.detail) {
			t.Errorf("%s: %s: %s; want %s: %s", test.query, verdict, detail, test.want, test.detail)
		}
	}
}
