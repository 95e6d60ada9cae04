package gates

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
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
	client, err := api.NewClient(api.Config{Address: g.Server, Client: r.prometheusClient})
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

// maxPrometheusAnswer bounds the body of an answer of Prometheus, in bytes. One number needs no more; a query that is not aggregated may answer with a lot, and is told so.
const maxPrometheusAnswer = 4 << 20

// bounded breaks answers off that are longer than most bytes: the client that reads them has no bound.
type bounded struct {
	next http.RoundTripper
	most int64
}

// RoundTrip is http.RoundTripper's.
func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(request)
	if err == nil {
		response.Body = &boundedBody{response.Body, b.most, b.most}
	}
	return response, err
}

type boundedBody struct {
	io.ReadCloser
	most, left int64
}

// Read is io.Reader's.
func (b *boundedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one too many
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("the answer is longer than %d bytes; aggregate the query, such as by sum(…)", b.most)
	}
	return n, err
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
		"$served", served(about.Served),
	).Replace(query)
}

// noRange is the shortest that PromQL knows: one of zero is an error. A Prometheus has one sample in it at most, of which no rate can be told, so that the gate
// waits.
const noRange = "1ms"

// served is a time as PromQL writes ranges, in whole seconds, rounded down: none of what is older may be seen.
func served(d time.Duration) string {
	if d < time.Second {
		return noRange
	}
	return strconv.Itoa(int(d/time.Second)) + "s"
}

// errNoAnswer means that JSON came which Prometheus does not write.
var errNoAnswer = errors.New("its answer has no value; does a Prometheus listen there?")

// single is the one number of an answer. What JSON left out has the time 0, at which nothing is measured.
func single(answer prom.Value) (float64, error) {
	switch v := answer.(type) {
	case nil: // JSON that has no data is no error to the client
		return 0, errNoAnswer
	case *prom.Scalar:
		if v.Timestamp == 0 {
			return 0, errNoAnswer
		}
		return float64(v.Value), nil
	case prom.Vector:
		switch {
		case len(v) == 0:
			return 0, errors.New("the query has no answer: nothing matches it")
		case len(v) > 1:
			return 0, fmt.Errorf("the query has %d answers; aggregate them, such as by sum(…)", len(v))
		case v[0] != nil && v[0].Histogram != nil:
			return 0, errors.New("the query answers with a histogram; ask for one number, such as by histogram_quantile(…)")
		case v[0] == nil || v[0].Timestamp == 0:
			return 0, errNoAnswer
		}
		return float64(v[0].Value), nil
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
