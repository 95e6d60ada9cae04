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
)

// Limits of reporting.
const (
	// A report stream that was lost is opened again after reportRetryMin, doubling to reconnectMax, with jitter, for ever.
	reportRetryMin = 200 * time.Millisecond
	// maxPending is how many reports about a chain wait for the stream; more are of no use once a later one says more.
	maxPending = 32
	// maxRestarts is how many restarts wait for the stream.
	maxRestarts = 16
)

// reporter keeps the latest that there is to say, and says it: what changed, and after a reconnect everything again. Its
// methods may be used concurrently and do not block.
type reporter struct {
	conn grpc.ClientConnInterface
	log  *slog.Logger
	// redact takes the values of secrets out of what is said.
	redact func(string) string
	// hello makes the first message of a stream.
	hello func() *waftv1.Hello
	// answered receives after a response has come.
	answered chan struct{}

	wake chan struct{}

	mu         sync.Mutex
	fetched    map[string]bool
	latest     *waftv1.ChainReport
	statistics *waftv1.Statistics
	pending    []*waftv1.ChainReport
	restarts   []*waftv1.EnvoyRestarted
	// dirty says what the stream has not been told.
	dirtyFetched, dirtyStatistics bool
	interval                      time.Duration
	retry                         int64
	asked                         []string
	heard                         bool
}

func newReporter(conn grpc.ClientConnInterface, log *slog.Logger, redact func(string) string, hello func() *waftv1.Hello) *reporter {
	return &reporter{conn: conn, log: log, redact: redact, hello: hello, answered: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
}

// setFetched gives the whole list of digests that are on disk.
func (r *reporter) setFetched(have map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fetched != nil && maps.Equal(have, r.fetched) {
		return
	}
	r.fetched, r.dirtyFetched = maps.Clone(have), true
	notify(r.wake)
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
	notify(r.wake)
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
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restarts = append(r.restarts, &waftv1.EnvoyRestarted{At: timestamppb.New(at), Reason: r.redact(reason)})
	if len(r.restarts) > maxRestarts {
		r.restarts = r.restarts[1:]
	}
	notify(r.wake)
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

// run keeps a stream open until ctx ends.
func (r *reporter) run(ctx context.Context) {
	pause := reportRetryMin
	for ctx.Err() == nil {
		answered, err := r.stream(ctx)
		if ctx.Err() != nil {
			return
		}
		if answered {
			pause = reportRetryMin
		}
		wait := jitter(pause)
		pause = min(2*pause, reconnectMax)
		r.log.Warn("lost the report stream", "error", err, "retry_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

// stream opens one stream and serves it until it breaks.
func (r *reporter) stream(ctx context.Context) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := waftv1.NewReportServiceClient(r.conn).Report(ctx)
	if err != nil {
		return false, err
	}
	if err := stream.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Hello{Hello: r.hello()}}); err != nil {
		if _, received := stream.Recv(); received != nil {
			err = received // what ended the stream; Send itself says only EOF
		}
		return false, err
	}
	lost := make(chan error, 1)
	responses := make(chan struct{}, 1)
	go func() {
		for {
			response, err := stream.Recv()
			if err != nil {
				lost <- err
				return
			}
			r.mu.Lock()
			r.interval, r.retry, r.heard = response.GetStatisticsInterval().AsDuration(), response.GetRetry(), true
			r.asked = askable(response.GetStatistics())
			r.mu.Unlock()
			notify(r.answered)
			notify(responses)
		}
	}()
	r.again()
	var ticks <-chan time.Time
	var ticker *time.Ticker
	var interval time.Duration
	defer func() {
		if ticker != nil {
			ticker.Stop()
		}
	}()
	for {
		for _, request := range r.due() {
			if stream.Send(request) != nil {
				return answered, <-lost // what ended the stream; Send itself says only EOF
			}
		}
		select {
		case <-ctx.Done():
			_ = stream.CloseSend() // the stream ends in any case
			return answered, ctx.Err()
		case err := <-lost:
			return answered, err
		case <-r.wake:
		case <-responses:
			answered = true
			if wanted := r.wantedInterval(); wanted != interval {
				if ticker != nil {
					ticker.Stop()
				}
				ticker, ticks, interval = nil, nil, wanted
				if wanted > 0 {
					ticker = time.NewTicker(wanted)
					ticks = ticker.C
				}
			}
		case <-ticks:
			if request := r.dueStatistics(); request != nil {
				if stream.Send(request) != nil {
					return answered, <-lost
				}
			}
		}
	}
}

func (r *reporter) wantedInterval() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.interval
}

// again has everything said once more, on a new stream.
func (r *reporter) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirtyFetched = r.fetched != nil
	r.dirtyStatistics = r.statistics != nil
	r.pending = nil
	if r.latest != nil {
		r.pending = []*waftv1.ChainReport{r.latest}
	}
	r.interval = 0
}

// due takes what is to be said now.
func (r *reporter) due() []*waftv1.ReportRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []*waftv1.ReportRequest
	if r.dirtyFetched {
		due = append(due, &waftv1.ReportRequest{Report: &waftv1.ReportRequest_Fetched{Fetched: &waftv1.Fetched{Digests: sorted(r.fetched)}}})
		r.dirtyFetched = false
	}
	for _, restarted := range r.restarts {
		due = append(due, &waftv1.ReportRequest{Report: &waftv1.ReportRequest_Restarted{Restarted: restarted}})
	}
	for _, report := range r.pending {
		due = append(due, &waftv1.ReportRequest{Report: &waftv1.ReportRequest_Chain{Chain: report}})
	}
	r.restarts, r.pending = nil, nil
	return due
}

func (r *reporter) dueStatistics() *waftv1.ReportRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.dirtyStatistics {
		return nil
	}
	r.dirtyStatistics = false
	return &waftv1.ReportRequest{Report: &waftv1.ReportRequest_Statistics{Statistics: r.statistics}}
}
