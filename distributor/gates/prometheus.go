package gates

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	prom "github.com/prometheus/common/model"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// prometheus compares the answer to a query with the gate's bounds.
func (r *Reader) prometheus(ctx context.Context, g model.PrometheusGate, about service.GateSubject) (model.GateVerdict, string) {
	client, err := api.NewClient(api.Config{Address: g.Server, Client: r.client})
	if err != nil {
		return model.VerdictInconclusive, err.Error()
	}
	answer, warnings, _, err := prometheus.NewAPI(client).Query(ctx, fill(g.Query, about), time.Time{})
	if err != nil {
		return model.VerdictInconclusive, fmt.Sprintf("%s did not answer: %v", g.Server, err)
	}
	value, err := single(answer)
	if err != nil {
		return model.VerdictInconclusive, fmt.Sprintf("%v%s", err, also(warnings))
	}
	verdict, detail := within(value, g.Min, g.Max)
	return verdict, detail + also(warnings)
}

// fill puts what a query asks about into it. Names and hashes hold nothing that PromQL's strings would have to escape; the ids of nodes are
// escaped as a regular expression, in a string.
func fill(query string, about service.GateSubject) string {
	moved := make([]string, 0, len(about.Moved))
	for _, id := range about.Moved {
		moved = append(moved, strings.ReplaceAll(regexp.QuoteMeta(id), `\`, `\\`))
	}
	return strings.NewReplacer(
		"$rollout", about.Rollout, "$release", about.Release.String(), "$wave", strconv.Itoa(about.Wave), "$moved", strings.Join(moved, "|"),
	).Replace(query)
}

// single is the one number of an answer.
func single(answer prom.Value) (float64, error) {
	switch v := answer.(type) {
	case *prom.Scalar:
		return float64(v.Value), nil
	case prom.Vector:
		if len(v) == 1 {
			return float64(v[0].Value), nil
		}
		if len(v) == 0 {
			return 0, fmt.Errorf("the query has no answer: nothing matches it")
		}
		return 0, fmt.Errorf("the query has %d answers; aggregate them, such as by sum(…)", len(v))
	}
	return 0, fmt.Errorf("the query answers with a %s; ask for one number", answer.Type())
}

// within compares a value with bounds, either of which may be nil.
func within(value float64, least, most *float64) (model.GateVerdict, string) {
	switch {
	case math.IsNaN(value):
		return model.VerdictInconclusive, "the answer is no number (NaN)"
	case most != nil && value > *most:
		return model.VerdictFail, fmt.Sprintf("%.6g is more than %.6g", value, *most)
	case least != nil && value < *least:
		return model.VerdictFail, fmt.Sprintf("%.6g is less than %.6g", value, *least)
	}
	return model.VerdictPass, fmt.Sprintf("%.6g is within %s", value, bounds(least, most))
}

func bounds(least, most *float64) string {
	switch {
	case least == nil:
		return fmt.Sprintf("at most %.6g", *most)
	case most == nil:
		return fmt.Sprintf("at least %.6g", *least)
	}
	return fmt.Sprintf("%.6g to %.6g", *least, *most)
}

func also(warnings []string) string {
	if len(warnings) == 0 {
		return ""
	}
	return "; it warns: " + strings.Join(warnings, "; ")
}
