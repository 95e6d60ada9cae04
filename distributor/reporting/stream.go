package reporting

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// maxRestarts is how many restarts wait for a distributor that answers; more say no more.
const maxRestarts = 16

// Sayer is what has something to say. Its methods are called by one goroutine, but for Heard, and must not block.
type Sayer interface {
	// Hello is the first message of a stream.
	Hello() *waftv1.Hello
	// Again says that a stream begins, on which nothing was said.
	Again()
	// Due takes what is to be said now, but for restarts and statistics.
	Due() []*waftv1.ReportRequest
	// Statistics takes those that are to be said now; nil: none.
	Statistics() *waftv1.Statistics
	// Heard takes an answer of the distributor. It is called by another goroutine, and never once Run has returned.
	Heard(*waftv1.ReportResponse)
}

// Stream is the report stream of a node. Make one with New. Its methods may be called concurrently.
type Stream struct {
	conn               grpc.ClientConnInterface
	log                *slog.Logger
	sayer              Sayer
	retryMin, retryMax time.Duration
	wake               chan struct{}

	mu sync.Mutex
	// restarts are kept until a stream on which they were said was answered: a distributor that stops may have taken none of them. The first told of them were said
	// on this stream.
	restarts []*waftv1.EnvoyRestarted
	told     int
	answered bool
}

// New makes a stream over a connection, which is not closed. One that was lost is opened again after retryMin, doubling to retryMax, with jitter, for ever.
func New(conn grpc.ClientConnInterface, log *slog.Logger, sayer Sayer, retryMin, retryMax time.Duration) *Stream {
	return &Stream{conn: conn, log: log, sayer: sayer, retryMin: retryMin, retryMax: retryMax, wake: make(chan struct{}, 1)}
}

// Wake has the sayer asked what is due.
func (s *Stream) Wake() { notify(s.wake) }

// Restarted says, to a distributor that answers, that what the node runs came up again at that time.
func (s *Stream) Restarted(at time.Time, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restarts = append(s.restarts, &waftv1.EnvoyRestarted{At: timestamppb.New(at), Reason: reason})
	if len(s.restarts) > maxRestarts {
		s.restarts, s.told = s.restarts[1:], max(s.told-1, 0)
	}
	notify(s.wake)
}

// Run keeps a stream open until ctx ends.
func (s *Stream) Run(ctx context.Context) {
	pause := s.retryMin
	for {
		answered, err := s.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		if answered {
			pause = s.retryMin
		}
		wait := pause/2 + rand.N(pause/2+1) // those that lost a distributor together do not come back together
		pause = min(2*pause, s.retryMax)
		s.log.Warn("lost the report stream", "error", err, "retry_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// serve opens one stream and serves it until it breaks. answered says whether the distributor said anything.
func (s *Stream) serve(ctx context.Context) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.again() // the first answer may come at any time after that
	stream, err := waftv1.NewReportServiceClient(s.conn).Report(ctx)
	if err != nil {
		return false, err
	}
	lost, intervals := make(chan error, 1), make(chan time.Duration, 1)
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
			s.hear(response)
			select {
			case <-intervals: // nobody has read the one before
			default:
			}
			intervals <- response.GetStatisticsInterval().AsDuration()
		}
	})
	say := func(request *waftv1.ReportRequest) error {
		if stream.Send(request) != nil {
			return <-lost // what ended the stream; Send itself says only EOF
		}
		return nil
	}
	if err := say(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Hello{Hello: s.sayer.Hello()}}); err != nil {
		return false, err
	}
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	ticker.Stop() // until the distributor says how often
	var interval time.Duration
	for {
		for _, request := range s.due() {
			if err := say(request); err != nil {
				return answered, err
			}
		}
		select {
		case <-ctx.Done():
			return answered, ctx.Err()
		case err := <-lost:
			return answered, err
		case wanted := <-intervals:
			answered = true
			if wanted != interval {
				if ticker.Stop(); wanted > 0 {
					ticker.Reset(wanted)
				}
				interval = wanted
			}
		case <-ticker.C:
			if counted := s.sayer.Statistics(); counted != nil {
				if err := say(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Statistics{Statistics: counted}}); err != nil {
					return answered, err
				}
			}
		case <-s.wake:
		}
	}
}

// again begins a stream.
func (s *Stream) again() {
	s.mu.Lock()
	s.told, s.answered = 0, false
	s.mu.Unlock()
	s.sayer.Again()
}

func (s *Stream) hear(response *waftv1.ReportResponse) {
	s.mu.Lock()
	s.answered = true
	s.settle()
	s.mu.Unlock()
	s.sayer.Heard(response)
}

// settle forgets restarts that were told to a distributor that answers, for it counts each that it is told; mu is held.
func (s *Stream) settle() {
	if s.answered {
		s.restarts, s.told = s.restarts[s.told:], 0
	}
}

// due takes what is to be said now.
func (s *Stream) due() []*waftv1.ReportRequest {
	s.mu.Lock()
	var due []*waftv1.ReportRequest
	for _, restarted := range s.restarts[s.told:] {
		due = append(due, &waftv1.ReportRequest{Report: &waftv1.ReportRequest_Restarted{Restarted: restarted}})
	}
	s.told = len(s.restarts)
	s.settle()
	s.mu.Unlock()
	return append(due, s.sayer.Due()...)
}

// notify puts a receipt into a channel of capacity one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
