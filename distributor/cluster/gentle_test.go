package cluster

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

// idleStream is a client's stream on which nothing comes.
type idleStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s idleStream) Context() context.Context     { return s.ctx }
func (s idleStream) SendHeader(metadata.MD) error { return nil }
func (s idleStream) SetTrailer(metadata.MD)       {}
func (s idleStream) SendMsg(any) error            { return nil }
func (s idleStream) RecvMsg(any) error            { <-s.ctx.Done(); return s.ctx.Err() }

// crowd is a relay that carries many streams to a leader which says nothing.
const crowd = 400

// led is a relay whose leader answers each stream so, and its way there, until the test ends.
func led(t *testing.T, answers func(grpc.ServerStream) error) (*Relay, *upstream) {
	t.Helper()
	pipe := bufconn.Listen(1 << 16)
	leader := grpc.NewServer(grpc.ForceServerCodecV2(Codec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error { return answers(stream) }))
	go func() { _ = leader.Serve(pipe) }()
	t.Cleanup(leader.Stop)
	conn, err := grpc.NewClient("passthrough:leader", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(Codec{})),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	r := NewRelay(&Member{in: true}, 1<<20, nil, nil)
	up := &upstream{replica: Replica{ID: "leader"}, conn: conn}
	up.done, up.cancel = context.WithCancel(t.Context())
	up.linked, up.cut = context.WithCancel(t.Context())
	r.lead = up
	return r, up
}

// endings are after how long the streams of a crowd end when something happens to the relay that carries them, each with Unavailable.
func endings(t *testing.T, happens func(*Relay)) []time.Duration {
	t.Helper()
	r, _ := led(t, func(stream grpc.ServerStream) error {
		<-stream.Context().Done()
		return stream.Context().Err()
	})
	var mu sync.Mutex
	var ended []time.Duration
	var begun time.Time
	var running sync.WaitGroup
	for range crowd {
		running.Go(func() {
			defer r.Carry()()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := r.Handle("/a/Stream", false, idleStream{ctx: ctx}, nil, func() bool { return false })
			mu.Lock()
			defer mu.Unlock()
			if status.Code(err) != codes.Unavailable {
				t.Errorf("a stream ends with %v", err)
			}
			ended = append(ended, time.Since(begun))
		})
	}
	time.Sleep(2 * finishing) // by the clock of the test: they are under way
	synctest.Wait()
	begun = time.Now()
	happens(r)
	running.Wait()
	return ended
}

// spread fails where one quarter of the time over which so many are to end has far less than its part of them.
func spread(t *testing.T, ended []time.Duration, over time.Duration) {
	t.Helper()
	const quarters = 4
	var of [quarters]int
	for _, at := range ended {
		if at < 0 || at > over {
			t.Fatalf("a stream ends after %v, and all are to within %v", at, over)
		}
		of[min(int(at*quarters/over), quarters-1)]++
	}
	for i, n := range of {
		if n < len(ended)/quarters/2 { // by chance it is less once in far more than a million runs
			t.Errorf("in quarter %d of %v %d of %d streams end: %v", i+1, over, n, len(ended), of)
		}
	}
}

// The streams of a replica that stops end one after the other, all the time that there is for it.
func TestDrainIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spread(t, endings(t, (*Relay).Drain), drainage)
	})
}

// Streams whose leader has gone come back over as long as so many need: those of a small fleet nearly at once.
func TestHandoverIsSpread(t *testing.T) {
	for name, others := range map[string]int64{"of all that there are": 0, "of a large fleet": 20_000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := endings(t, func(r *Relay) {
					r.carried.Add(others)
					r.mu.Lock()
					defer r.mu.Unlock()
					r.lead.end()
				})
				spread(t, ended, handoverOf(crowd+others))
			})
		})
	}
}

// A call with one answer that was passed on is answered by a leader that leads no more, for as long as that may take; else its client is told that nobody knows what became of it.
func TestACallOutlivesALeadership(t *testing.T) {
	for name, c := range map[string]struct {
		ends func(*upstream)
		// after is when the leader answers, with answer; zero: never.
		after  time.Duration
		answer error
		want   error
	}{
		"it is answered":                 {(*upstream).end, lastAnswers / 2, nil, nil},
		"it is refused":                  {(*upstream).end, lastAnswers / 2, status.Error(codes.AlreadyExists, "it is there"), status.Error(codes.AlreadyExists, "it is there")},
		"the leader does not know":       {(*upstream).end, lastAnswers / 2, errUnfinished, errUnfinished},
		"the leader says nothing":        {(*upstream).end, 0, nil, errUnfinished},
		"the leader is not reached":      {(*upstream).lose, 0, nil, errUnfinished},
		"it leads on, and etcd does not": {func(*upstream) {}, lastAnswers, status.Error(codes.Unavailable, "etcd is away"), status.Error(codes.Unavailable, "etcd is away")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				over := make(chan struct{})
				r, up := led(t, func(stream grpc.ServerStream) error {
					if <-over; c.after > 0 {
						pause(stream.Context(), c.after)
						return c.answer
					}
					<-stream.Context().Done()
					return nil
				})
				defer up.lose()
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				got := make(chan error, 1)
				go func() {
					_, err := r.Handle("/a/Call", true, idleStream{ctx: ctx}, nil, func() bool { return false })
					got <- err
				}()
				synctest.Wait()
				c.ends(up)
				close(over)
				if err := <-got; status.Code(err) != status.Code(c.want) || status.Convert(err).Message() != status.Convert(c.want).Message() {
					t.Errorf("it ends with %v, want %v", err, c.want)
				}
			})
		})
	}
}
