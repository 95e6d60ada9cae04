package envoy

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseServerInfo(t *testing.T) {
	for _, test := range []struct {
		name, current, all string
		want               ServerInfo
		fails              bool
	}{
		{name: "running", current: "3600s", all: "7200s", want: ServerInfo{UptimeCurrentEpoch: time.Hour, UptimeAllEpochs: 2 * time.Hour}},
		{
			name: "the clock was set back past its start", current: "-3600s", all: "-1s",
			want: ServerInfo{UptimeCurrentEpoch: -time.Hour, UptimeAllEpochs: -time.Second},
		},
		{name: "no uptime", all: "1s", fails: true},
		{name: "an uptime of another kind", current: "1s", all: "an hour", fails: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := fmt.Appendf(nil, `{"uptime_current_epoch":%q,"uptime_all_epochs":%q}`, test.current, test.all)
			if got, err := parseServerInfo(body); (err != nil) != test.fails || got != test.want {
				t.Errorf("%+v (%v), want %+v", got, err, test.want)
			}
		})
	}
}

func TestParseStats(t *testing.T) {
	for _, test := range []struct {
		name, body string
		want       Stats
		fails      bool
	}{
		{name: "nothing", body: `{"stats":[]}`, want: Stats{Values: map[string]int64{}, Texts: map[string]string{}, Histograms: map[string]Histogram{}}},
		{
			name: "each kind",
			body: `{"stats":[{"name":"a.version_text","value":"v1"},{"name":"b","value":3},{"name":"c","value":18446744073709551615},
				{"histograms":[{"name":"h","buckets":[{"upper_bound":0.5,"interval":0,"cumulative":1},{"upper_bound":1,"interval":0,"cumulative":4}]},{"name":"i","buckets":[]}]}]}`,
			want: Stats{
				Values:     map[string]int64{"b": 3, "c": math.MaxInt64},
				Texts:      map[string]string{"a.version_text": "v1"},
				Histograms: map[string]Histogram{"h": {Count: 4, Buckets: []Bucket{{0.5, 1}, {1, 4}}}, "i": {}},
			},
		},
		{
			name: "what is beyond a number is held at its end", body: `{"stats":[{"name":"a","value":-9223372036854775809},{"name":"b","value":9223372036854775808}]}`,
			want: Stats{Values: map[string]int64{"a": math.MinInt64, "b": math.MaxInt64}, Texts: map[string]string{}, Histograms: map[string]Histogram{}},
		},
		{
			name: "buckets that do not rise",
			body: `{"stats":[{"histograms":[{"name":"bounds","buckets":[{"upper_bound":2,"cumulative":1},{"upper_bound":1,"cumulative":1}]},
				{"name":"counts","buckets":[{"upper_bound":1,"cumulative":2},{"upper_bound":2,"cumulative":1}]},{"name":"below nothing","buckets":[{"upper_bound":1,"cumulative":-1}]}]}]}`,
			want: Stats{Values: map[string]int64{}, Texts: map[string]string{}, Histograms: map[string]Histogram{}},
		},
		{name: "not JSON", body: "invalid", fails: true},
		{name: "a value of another kind", body: `{"stats":[{"name":"a","value":true}]}`, fails: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseStats([]byte(test.body))
			if (err != nil) != test.fails {
				t.Fatalf("error %v, want one: %v", err, test.fails)
			}
			if diff := cmp.Diff(test.want, got); !test.fails && diff != "" {
				t.Errorf("stats (-want +got):\n%s", diff)
			}
		})
	}
}
