package agent

import (
	"regexp"
	"slices"
	"strings"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// values are statistics that gates ask for: those that Envoy has, and the names of all of them, sorted. The zero value is that of a reading
// for which nobody asked.
type values struct {
	asked []string
	of    map[string]int64
}

// valuesOf takes what was asked for out of statistics.
func valuesOf(stats envoy.Stats, asked []string) values {
	v := values{asked: asked, of: make(map[string]int64, len(asked))}
	for _, name := range asked {
		if value, has := stats.Values[name]; has {
			v.of[name] = value
		}
	}
	return v
}

// askable are the names that may be asked for, sorted: a distributor does not decide what an agent's reports may cost.
func askable(names []string) []string {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "" || len(name) > model.MaxStatisticName })
	slices.Sort(names)
	names = slices.Compact(names)
	return names[:min(len(names), model.MaxStatistics)]
}

// statsFilter selects all that is observed, and what is asked for beside it.
func statsFilter(statPrefix string, asked []string) string {
	if len(asked) == 0 {
		return statsOfAllThat(statPrefix)
	}
	quoted := make([]string, 0, len(asked))
	for _, name := range asked {
		quoted = append(quoted, regexp.QuoteMeta(name))
	}
	return statsOfAllThat(statPrefix) + "|^(" + strings.Join(quoted, "|") + ")$"
}

// rise counts by how much statistics have risen since a chain began to serve. The zero value has counted nothing.
type rise struct {
	// base is what each was when the chain began, or when it was first read; kept is how much it rose in earlier lives of Envoy.
	base map[string]int64
	kept map[string]int64
	last values
}

// begin starts from the reading in which a chain begins to serve.
func (r *rise) begin(v values) {
	*r = rise{base: map[string]int64{}, kept: map[string]int64{}, last: v}
	for _, name := range v.asked {
		r.base[name] = v.of[name] // what is not there yet begins at zero
	}
}

// follow takes the next reading; restarted says that Envoy has begun anew, and its counts with it.
func (r *rise) follow(v values, restarted bool) {
	if restarted {
		for name, value := range r.last.of {
			r.kept[name] += value - r.base[name]
			r.base[name] = 0
		}
	}
	for _, name := range v.asked {
		if _, known := r.base[name]; known {
			continue
		}
		// Asked for only now: what it has risen by before is not known. One that is not there yet begins at zero.
		if r.base[name] = v.of[name]; restarted {
			r.base[name] = 0
		}
	}
	r.last = v
}

// total is what was asked for, and is there.
func (r *rise) total() map[string]model.StatisticValue {
	if len(r.last.of) == 0 {
		return nil
	}
	out := make(map[string]model.StatisticValue, len(r.last.of))
	for name, value := range r.last.of {
		out[name] = model.StatisticValue{Value: float64(value), Increase: float64(value - r.base[name] + r.kept[name])}
	}
	return out
}

func valuesProto(values map[string]model.StatisticValue) map[string]*waftv1.StatisticValue {
	if len(values) == 0 {
		return nil
	}
	out := make(map[string]*waftv1.StatisticValue, len(values))
	for name, v := range values {
		out[name] = &waftv1.StatisticValue{Value: v.Value, Increase: v.Increase}
	}
	return out
}
