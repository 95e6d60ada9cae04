package filtertest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// metricPrefix stands before the name of a metric that a guest defined.
const metricPrefix = "wasmcustom."

// maxStats bounds the answer of the admin interface, in bytes.
const maxStats = 64 << 20

// envoyMetrics are the metrics that guests defined, by name, each with its type; a histogram's value is the number of its samples.
type envoyMetrics map[string]Metric

// readMetrics asks the admin interface for the guests' metrics and for how many requests or connections Envoy has finished with.
//
// Envoy merges its workers' histograms when it flushes statistics; the bootstrap makes it do so whenever it is asked for them. The count
// of what is finished is a histogram too: once it has a request, everything that the request's callbacks did is visible.
func readMetrics(ctx context.Context, admin, histogram string) (metrics envoyMetrics, finished int64, err error) {
	metrics = envoyMetrics{}
	for _, t := range []struct{ query, name string }{{"Histograms", "histogram"}, {"Counters", "counter"}, {"Gauges", "gauge"}} {
		q := url.Values{"format": {"json"}, "type": {t.query}}
		if t.query == "Histograms" {
			q.Set("histogram_buckets", "detailed")
		} else {
			q.Set("filter", "^"+metricPrefix)
		}
		stats, err := readStats(ctx, admin, q)
		if err != nil {
			return nil, 0, err
		}
		for name, value := range stats {
			if name == histogram {
				finished = value
			}
			if guest, ok := strings.CutPrefix(name, metricPrefix); ok {
				metrics[guest] = Metric{Type: t.name, Value: value}
			}
		}
	}
	return metrics, finished, nil
}

// readStats reads /stats as JSON. A histogram is the number of its samples.
func readStats(ctx context.Context, admin string, q url.Values) (map[string]int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/stats?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read Envoy's statistics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxStats))
	if err != nil {
		return nil, fmt.Errorf("read Envoy's statistics: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read Envoy's statistics: %s: %s", resp.Status, body)
	}
	return parseStats(body)
}

func parseStats(body []byte) (map[string]int64, error) {
	var answer struct {
		Stats []struct {
			Name       string          `json:"name"`
			Value      json.RawMessage `json:"value"`
			Histograms *struct {
				Details []struct {
					Name   string `json:"name"`
					Totals []struct {
						Count int64 `json:"count"`
					} `json:"totals"`
				} `json:"details"`
			} `json:"histograms"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("read Envoy's statistics: %w", err)
	}
	out := map[string]int64{}
	for _, s := range answer.Stats {
		if s.Histograms != nil {
			for _, h := range s.Histograms.Details {
				for _, b := range h.Totals {
					out[h.Name] += b.Count
				}
			}
			continue
		}
		var value int64
		if err := json.Unmarshal(s.Value, &value); err != nil {
			continue // a text, or a number beyond int64: nothing that is compared
		}
		out[s.Name] = value
	}
	return out, nil
}

// growth is the difference between two readings, as metricGrowth of the other backend.
func (before envoyMetrics) growth(after envoyMetrics) map[string]Metric {
	out := map[string]Metric{}
	for name, m := range after {
		if m.Type != "gauge" {
			m.Value -= before[name].Value
		}
		if m.Value != 0 || m.Type == "gauge" {
			out[name] = m
		}
	}
	return out
}
