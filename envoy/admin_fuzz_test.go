package envoy

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Answers of Envoy 1.40, cut to what is read. Another program can listen where Envoy is thought to be.
const (
	answeredInfo      = `{"version":"9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL","state":"LIVE","uptime_current_epoch":"1s","uptime_all_epochs":"1s","hot_restart_version":"11.104","command_line_options":{"concurrency":1,"restart_epoch":0,"drain_time":"600s","mode":"Serve"},"node":{"id":"edge-1","cluster":"edge","user_agent_name":"envoy"},"hot_restart_initializing":false}`
	answeredListeners = `{"listener_statuses":[{"name":"edge","local_address":{"socket_address":{"address":"127.0.0.1","port_value":41197}}},{"name":"beside","local_address":{"pipe":{"path":"/run/beside"}}}]}`
	answeredStats     = `{"stats":[{"name":"http.edge.downstream_rq_timeout","value":0},{"name":"http.edge.downstream_rq_total","value":1},{"name":"server.live","value":1},{"name":"server.version","value":10376576},{"histograms":[{"name":"http.edge.downstream_rq_time","buckets":[{"upper_bound":0.5,"interval":1,"cumulative":1},{"upper_bound":1,"interval":1,"cumulative":1},{"upper_bound":5,"interval":1,"cumulative":1},{"upper_bound":10,"interval":1,"cumulative":1},{"upper_bound":25,"interval":1,"cumulative":1},{"upper_bound":50,"interval":1,"cumulative":1},{"upper_bound":100,"interval":1,"cumulative":1},{"upper_bound":250,"interval":1,"cumulative":1},{"upper_bound":500,"interval":1,"cumulative":1},{"upper_bound":1000,"interval":1,"cumulative":1},{"upper_bound":2500,"interval":1,"cumulative":1},{"upper_bound":5000,"interval":1,"cumulative":1},{"upper_bound":10000,"interval":1,"cumulative":1},{"upper_bound":30000,"interval":1,"cumulative":1},{"upper_bound":60000,"interval":1,"cumulative":1},{"upper_bound":300000.0,"interval":1,"cumulative":1},{"upper_bound":600000.0,"interval":1,"cumulative":1},{"upper_bound":1800000,"interval":1,"cumulative":1},{"upper_bound":3600000,"interval":1,"cumulative":1}]}]}]}`
)

// FuzzParseStats: a name has one value, of one kind, and the buckets of histograms rise to their count.
func FuzzParseStats(f *testing.F) {
	f.Add([]byte(answeredStats))
	f.Add([]byte(`{"stats":[{"name":"a.version_text","value":"v1"},{"name":"a","value":18446744073709551615}]}`))
	f.Add([]byte(`{"stats":[{"name":"a","value":-9223372036854775809},{"name":"a","value":null},{"histograms":[{"name":"h","buckets":[{"upper_bound":-1,"cumulative":-2}]}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		stats, err := parseStats(body)
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Errorf("%q is taken", body)
		}
		// Each took more of the body than this.
		if n := len(stats.Values) + len(stats.Texts) + len(stats.Histograms); n > len(body)/len(`{}`) {
			t.Errorf("%d statistics of %d bytes", n, len(body))
		}
		for name, h := range stats.Histograms {
			var count int64
			for i, b := range h.Buckets {
				if b.Cumulative < count || i > 0 && b.UpperBound < h.Buckets[i-1].UpperBound {
					t.Errorf("the buckets of %q do not rise: %v", name, h.Buckets)
				}
				count = b.Cumulative
			}
			if h.Count != count {
				t.Errorf("%q has counted %d, and its last bucket %d", name, h.Count, count)
			}
		}
		// What was read, written as Envoy does, is read again as the same.
		again, err := parseStats(written(t, stats))
		if err != nil || len(again.Values) != len(stats.Values) || len(again.Histograms) != len(stats.Histograms) {
			t.Fatalf("%q is read as %v, and that as %v (%v)", body, stats, again, err)
		}
		for name, value := range stats.Values {
			if again.Values[name] != value {
				t.Errorf("%q is %d, and then %d", name, value, again.Values[name])
			}
		}
		for name, text := range stats.Texts {
			if again.Texts[name] != text {
				t.Errorf("%q is %q, and then %q", name, text, again.Texts[name])
			}
		}
		for name, h := range stats.Histograms {
			if !slices.Equal(again.Histograms[name].Buckets, h.Buckets) {
				t.Errorf("%q is %v, and then %v", name, h, again.Histograms[name])
			}
		}
	})
}

// written are statistics as Envoy answers with them.
func written(t *testing.T, stats Stats) []byte {
	t.Helper()
	type bucket struct {
		UpperBound float64 `json:"upper_bound"`
		Cumulative int64   `json:"cumulative"`
	}
	type histogram struct {
		Name    string   `json:"name"`
		Buckets []bucket `json:"buckets"`
	}
	var all []any
	for name, value := range stats.Values {
		all = append(all, map[string]any{"name": name, "value": value})
	}
	for name, text := range stats.Texts {
		all = append(all, map[string]any{"name": name, "value": text})
	}
	histograms := []histogram{}
	for name, h := range stats.Histograms {
		one := histogram{Name: name}
		for _, b := range h.Buckets {
			one.Buckets = append(one.Buckets, bucket(b))
		}
		histograms = append(histograms, one)
	}
	text, err := json.Marshal(map[string]any{"stats": append(all, map[string]any{"histograms": histograms})})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// FuzzParseServerInfo: how long an Envoy has run by the clock that people set, which may be less than no time, written as Envoy does, is read again as the same.
func FuzzParseServerInfo(f *testing.F) {
	f.Add([]byte(answeredInfo))
	f.Add([]byte(`{"version":"","uptime_current_epoch":"-1s","uptime_all_epochs":"9223372036s"}`))
	f.Add([]byte(`{"uptime_current_epoch":"1.5s","uptime_all_epochs":"-0s","command_line_options":null,"node":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		info, err := parseServerInfo(body)
		if err != nil {
			if info != (ServerInfo{}) {
				t.Errorf("%q is %v, and %+v", body, err, info)
			}
			return
		}
		current, err := protojson.Marshal(durationpb.New(info.UptimeCurrentEpoch))
		if err != nil {
			t.Fatal(err)
		}
		all, err := protojson.Marshal(durationpb.New(info.UptimeAllEpochs))
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseServerInfo(fmt.Appendf(nil, `{"uptime_current_epoch":%s,"uptime_all_epochs":%s}`, current, all))
		if err != nil || again.UptimeCurrentEpoch != info.UptimeCurrentEpoch || again.UptimeAllEpochs != info.UptimeAllEpochs {
			t.Errorf("%q has run for %s, and %s, and then %+v (%v)", body, info.UptimeCurrentEpoch, info.UptimeAllEpochs, again, err)
		}
	})
}

// FuzzParseListeners: what is given can be dialled.
func FuzzParseListeners(f *testing.F) {
	f.Add([]byte(answeredListeners))
	f.Add([]byte(`{"listener_statuses":[{"name":"a","local_address":{"socket_address":{"address":"::1","port_value":65536}}},null]}`))
	f.Add([]byte(`{"listener_statuses":[{"name":"a","local_address":{"socket_address":{"address":"127.0.0.1"}}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		listeners, err := parseListeners(body)
		if err != nil {
			return
		}
		for name, at := range listeners {
			_, port, err := net.SplitHostPort(at)
			if n, wrong := strconv.ParseUint(port, 10, 16); err != nil || wrong != nil || n == 0 {
				t.Errorf("the listener %q is at %q (%v, %v)", name, at, err, wrong)
			}
		}
	})
}
