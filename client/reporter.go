package client

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// reporter says how far the application has come: what changed, and on a new stream the latest again. Its methods may be called concurrently, and do not block.
type reporter struct {
	conn grpc.ClientConnInterface
	log  *slog.Logger
	// hello makes the first message of a stream.
	hello func() *waftv1.Hello
	// statistics are what was counted by now; nil: nothing is.
	statistics func() *waftv1.Statistics
	// asked receives after the distributor has said something.
	asked chan struct{}
	wake  chan struct{}

	mu     sync.Mutex
	latest *waftv1.ChainReport
	said   bool
	retry  int64
	// restarted is kept until a stream on which it was said, restartSaid, was answered: a distributor that stops may have taken none of it.
	restarted             *waftv1.EnvoyRestarted
	restartSaid, answered bool
	// interval is how often the distributor wants statistics; zero: not at all.
	interval time.Duration
}

func newReporter(conn grpc.ClientConnInterface, log *slog.Logger, hello func() *waftv1.Hello) *reporter {
	return &reporter{conn: conn, log: log, hello: hello, asked: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
}

// stand says where the application stands with the chain that it is to have. It is sent when it is another than before.
func (r *reporter) stand(report *waftv1.ChainReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.latest != nil {
		report.At = r.latest.GetAt()
		if proto.Equal(report, r.latest) {
			return
		}
	}
	report.At = timestamppb.Now()
	r.latest, r.said = report, false
	notify(r.wake)
}

// restart says that the application has ended, and was started again.
func (r *reporter) restart(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restarted = &waftv1.EnvoyRestarted{At: timestamppb.Now(), Reason: reason}
}

// retries is how often a person has asked to try a chain again.
func (r *reporter) retries() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.retry
}

// wanted is how often the distributor wants statistics.
func (r *reporter) wanted() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.interval
}

// run keeps a stream open until ctx ends.
func (r *reporter) run(ctx context.Context) {
	pause := retryMin
	for {
		answered, err := r.stream(ctx)
		if ctx.Err() != nil {
			return
		}
		if answered {
			pause = retryMin
		}
		wait := pause/2 + rand.N(pause/2+1) // those that lost a distributor together do not come back together
		pause = min(2*pause, retryMax)
		r.log.Warn("lost the report stream", "error", err, "retry_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// stream opens one stream and serves it until it breaks. answered says whether the distributor said anything.
func (r *reporter) stream(ctx context.Context) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.again() // the first answer may come at any time after that
	stream, err := waftv1.NewReportServiceClient(r.conn).Report(ctx)
	if err != nil {
		return false, err
	}
	lost, heard := make(chan error, 1), make(chan struct{}, 1)
	var receiving sync.WaitGroup
	defer receiving.Wait()
	defer cancel()
	receiving.Go(func() {
		for {
			response, err := stream.Recv()
			if err != nil {
				lost <- err
				return
			}
			r.mu.Lock()
			r.retry, r.interval = max(r.retry, response.GetRetry()), response.GetStatisticsInterval().AsDuration()
			r.answered = true
			r.settle()
			r.mu.Unlock()
			notify(heard)
			notify(r.asked)
		}
	})
	if stream.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Hello{Hello: r.hello()}}) != nil {
		return false, <-lost // what ended the stream; Send itself says only EOF
	}
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	ticker.Stop() // until the distributor says how often
	var interval time.Duration
	for {
		for _, request := range r.due() {
			if stream.Send(request) != nil {
				return answered, <-lost
			}
		}
		select {
		case <-ctx.Done():
			return answered, ctx.Err()
		case err := <-lost:
			return answered, err
		case <-heard:
			answered = true
			if wanted := r.wanted(); wanted != interval {
				if ticker.Stop(); wanted > 0 {
					ticker.Reset(wanted)
				}
				interval = wanted
			}
		case <-ticker.C:
			if counted := r.statistics(); counted != nil && stream.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Statistics{Statistics: counted}}) != nil {
				return answered, <-lost
			}
		case <-r.wake:
		}
	}
}

// again has the latest said once more, on a new stream.
func (r *reporter) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said, r.restartSaid, r.answered, r.interval = false, false, false, 0
}

// settle forgets a restart that was told to a distributor that answers, for it counts each that it is told; mu is held.
func (r *reporter) settle() {
	if r.restartSaid && r.answered {
		r.restarted = nil
	}
}

// due takes what is to be said now.
func (r *reporter) due() []*waftv1.ReportRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []*waftv1.ReportRequest
	if r.restarted != nil && !r.restartSaid {
		due = append(due, &waftv1.ReportRequest{Report: &waftv1.ReportRequest_Restarted{Restarted: r.restarted}})
		r.restartSaid = true
		r.settle()
	}
	if r.latest != nil && !r.said {
		due = append(due, &waftv1.ReportRequest{Report: &waftv1.ReportRequest_Chain{Chain: r.latest}})
		r.said = true
	}
	return due
}
