package agent

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

func TestStatisticsThatAreAskedFor(t *testing.T) {
	filter := regexp.MustCompile(statsFilter(envoy.DefaultStatPrefix, []string{"wasmcustom.a(b", "cluster.up.rq"}))
	for name, want := range map[string]bool{
		"wasmcustom.a(b": true, "cluster.up.rq": true, "cluster.up.rq_total": false, "xcluster.up.rq": false, "clusterXup.rq": false, "waft.denied": true,
	} {
		if got := filter.MatchString(name); got != want {
			t.Errorf("%s is read: %v, want %v", name, got, want)
		}
	}
	many := make([]string, 0, 2*model.MaxStatistics)
	for i := range 2 * model.MaxStatistics {
		many = append(many, fmt.Sprintf("s%02d", i/2))
	}
	asked := askable(append(many, "", strings.Repeat("x", model.MaxStatisticName+1)))
	if len(asked) != model.MaxStatistics || asked[0] != "s00" {
		t.Errorf("asked for %v", asked)
	}
}

func TestRise(t *testing.T) {
	read := func(asked string, pairs ...any) values {
		stats := envoy.Stats{Values: map[string]int64{"other": 99}}
		for i := 0; i < len(pairs); i += 2 {
			stats.Values[pairs[i].(string)] = int64(pairs[i+1].(int))
		}
		return valuesOf(stats, strings.Fields(asked))
	}
	var r rise
	for _, step := range []struct {
		name      string
		begins    bool
		restarted bool
		values    values
		want      map[string]model.StatisticValue
	}{
		{"a chain begins", true, false, read("a b", "a", 10), map[string]model.StatisticValue{"a": {Value: 10}}},
		{"counts from there, and from zero what comes into being", false, false, read("a b", "a", 12, "b", 3), map[string]model.StatisticValue{"a": {Value: 12, Increase: 2}, "b": {Value: 3, Increase: 3}}},
		{"another is asked for", false, false, read("a b c", "a", 12, "b", 4, "c", 50), map[string]model.StatisticValue{"a": {Value: 12, Increase: 2}, "b": {Value: 4, Increase: 4}, "c": {Value: 50}}},
		{"Envoy came up again", false, true, read("a b c", "a", 1, "c", 2), map[string]model.StatisticValue{"a": {Value: 1, Increase: 3}, "c": {Value: 2, Increase: 2}}},
		{"a gauge falls", false, false, read("a c", "a", 0, "c", 2), map[string]model.StatisticValue{"a": {Value: 0, Increase: 2}, "c": {Value: 2, Increase: 2}}},
		{"nobody asks any more", false, false, read("", "a", 5), nil},
		{"another chain begins", true, false, read("a", "a", 5), map[string]model.StatisticValue{"a": {Value: 5}}},
	} {
		if step.begins {
			r.begin(step.values)
		} else {
			r.follow(step.values, step.restarted)
		}
		if got := r.total(); !maps.Equal(got, step.want) {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
}
