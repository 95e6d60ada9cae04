package client

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/reporting"
)

// reporter says how far the application has come: what changed, and on a new stream the latest again. Its methods may be called concurrently, and do not block.
type reporter struct {
	stream *reporting.Stream
	// hello makes the first message of a stream.
	hello func() *waftv1.Hello
	// statistics are what was counted by now; nil: nothing is.
	statistics func() *waftv1.Statistics
	// asked receives after the distributor has said something.
	asked chan struct{}

	mu     sync.Mutex
	latest *waftv1.ChainReport
	told   bool
	retry  int64
}

func newReporter(conn grpc.ClientConnInterface, log *slog.Logger, hello func() *waftv1.Hello) *reporter {
	r := &reporter{hello: hello, asked: make(chan struct{}, 1)}
	r.stream = reporting.New(conn, log, said{r}, retryMin, retryMax)
	return r
}

// run keeps a stream open until ctx ends.
func (r *reporter) run(ctx context.Context) { r.stream.Run(ctx) }

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
	r.latest, r.told = report, false
	r.stream.Wake()
}

// restart says that the application has ended, and was started again.
func (r *reporter) restart(reason string) { r.stream.Restarted(time.Now(), reason) }

// retries is how often a person has asked to try a chain again.
func (r *reporter) retries() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.retry
}

// said is what a reporter says on a stream.
type said struct{ *reporter }

func (r said) Hello() *waftv1.Hello { return r.hello() }

// Again has the latest said once more.
func (r said) Again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = false
}

func (r said) Due() []*waftv1.ReportRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.latest == nil || r.told {
		return nil
	}
	r.told = true
	return []*waftv1.ReportRequest{{Report: &waftv1.ReportRequest_Chain{Chain: r.latest}}}
}

func (r said) Statistics() *waftv1.Statistics { return r.statistics() }

func (r said) Heard(response *waftv1.ReportResponse) {
	r.mu.Lock()
	r.retry = max(r.retry, response.GetRetry())
	r.mu.Unlock()
	notify(r.asked)
}
