package agent

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/reporting"
)

// Limits of reporting.
const (
	// A report stream that was lost is opened again after reportRetryMin, doubling to reconnectMax.
	reportRetryMin = 200 * time.Millisecond
	// maxPending is how many reports about a chain wait for the stream; more are of no use once a later one says more.
	maxPending = 32
)

// reporter keeps the latest that there is to say, and says it: what changed, and after a reconnect everything again. Its
// methods may be used concurrently and do not block.
type reporter struct {
	stream *reporting.Stream
	// redact takes the values of secrets out of what is said.
	redact func(string) string
	// hello makes the first message of a stream.
	hello func() *waftv1.Hello
	// answered receives after a response has come.
	answered chan struct{}

	mu         sync.Mutex
	fetched    map[string]bool
	unfetched  map[string]string
	latest     *waftv1.ChainReport
	statistics *waftv1.Statistics
	pending    []*waftv1.ChainReport
	// dirty says what the stream has not been told.
	dirtyFetched, dirtyStatistics bool
	retry                         int64
	asked                         []string
	heard                         bool
}

func newReporter(conn grpc.ClientConnInterface, log *slog.Logger, redact func(string) string, hello func() *waftv1.Hello) *reporter {
	r := &reporter{redact: redact, hello: hello, answered: make(chan struct{}, 1)}
	r.stream = reporting.New(conn, log, said{r}, reportRetryMin, reconnectMax)
	return r
}

// run keeps a stream open until ctx ends.
func (r *reporter) run(ctx context.Context) { r.stream.Run(ctx) }

// setFetched gives the whole list of digests that are on disk, and why others are not, by digest.
func (r *reporter) setFetched(have map[string]bool, trouble map[string]string) {
	unfetched := make(map[string]string, len(trouble))
	for digest, reason := range trouble {
		unfetched[digest] = r.redact(reason)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fetched != nil && maps.Equal(have, r.fetched) && maps.Equal(unfetched, r.unfetched) {
		return
	}
	r.fetched, r.unfetched, r.dirtyFetched = maps.Clone(have), unfetched, true
	r.stream.Wake()
}

// setStanding says how far the desired chain has come.
func (r *reporter) setStanding(s standing, at time.Time) {
	report := &waftv1.ChainReport{
		Hash: s.hash, State: s.state, Reason: r.redact(s.reason), Final: s.final, Step: string(s.step),
		At: timestamppb.New(at), ServingHash: s.serving, Generation: s.generation,
		Secrets: parseVersions(s.secrets),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latest = report
	r.pending = append(r.pending, report)
	if len(r.pending) > maxPending {
		r.pending = r.pending[1:]
	}
	r.stream.Wake()
}

// setStatistics says what the chain has served; it is sent at the interval that the distributor asked for.
// cohort is nil where there is none, or it cannot be told.
func (r *reporter) setStatistics(hash string, since, at time.Time, c counts, cohort *counts, values map[string]model.StatisticValue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statistics = &waftv1.Statistics{
		Hash: hash, Requests: c.requests, Errors: c.errors, Denied: c.denied, DeniedKnown: c.undenied == 0, SeenByFilters: c.seen,
		Since: timestamppb.New(since), At: timestamppb.New(at), Health: healthProto(c.health), Values: valuesProto(values),
	}
	if cohort != nil {
		r.statistics.Cohort = &waftv1.CohortStatistics{Requests: cohort.requests, Errors: cohort.errors, Denied: cohort.denied, SeenByFilters: cohort.seen}
		if cohort.health.Known {
			r.statistics.Cohort.Health = healthProto(cohort.health)
		}
	}
	r.dirtyStatistics = true
}

// addRestart says that Envoy came up again.
func (r *reporter) addRestart(at time.Time, reason string) {
	r.stream.Restarted(at, r.redact(reason))
}

// directive is the last that the distributor asked for; false before the first.
func (r *reporter) directive() (retry int64, heard bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.retry, r.heard
}

// askedFor are the statistics that the distributor asks for; they are not changed.
func (r *reporter) askedFor() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// said is what a reporter says on a stream.
type said struct{ *reporter }

func (r said) Hello() *waftv1.Hello { return r.hello() }

// Again has everything said once more.
func (r said) Again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirtyFetched = r.fetched != nil
	r.dirtyStatistics = r.statistics != nil
	r.pending = nil
	if r.latest != nil {
		r.pending = []*waftv1.ChainReport{r.latest}
	}
}

func (r said) Due() []*waftv1.ReportRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []*waftv1.ReportRequest
	if r.dirtyFetched {
		due = append(due, &waftv1.ReportRequest{Report: &waftv1.ReportRequest_Fetched{Fetched: &waftv1.Fetched{Digests: sorted(r.fetched), Failed: r.unfetched}}})
		r.dirtyFetched = false
	}
	for _, report := range r.pending {
		due = append(due, &waftv1.ReportRequest{Report: &waftv1.ReportRequest_Chain{Chain: report}})
	}
	r.pending = nil
	return due
}

func (r said) Statistics() *waftv1.Statistics {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.dirtyStatistics {
		return nil
	}
	r.dirtyStatistics = false
	return r.statistics
}

func (r said) Heard(response *waftv1.ReportResponse) {
	r.mu.Lock()
	r.retry, r.heard = response.GetRetry(), true
	r.asked = askable(response.GetStatistics())
	r.mu.Unlock()
	notify(r.answered)
}
