package distributor

import (
	"context"
	"strconv"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// pushbackKey is the trailer by which a client of gRPC is told when to try again.
const pushbackKey = "grpc-retry-pushback-ms"

const (
	// reportsPerSecond is how many reports of one stream are read in a second, once reportsAtOnce were; what comes faster is read later. What comes over MCP, ADS and Istio's
	// dialect has bounds of its own, by node (distributor/paced), and so have pushed statistics.
	reportsPerSecond = 50
	reportsAtOnce    = 200
)

// visitKey is the key in a context of a visit.
type visitKey struct{}

// visit is one call or request on its way in.
type visit struct {
	// at is the client by its connection: whom its certificate is of, and where it has none, its address. So whoever shows a certificate pays itself for what it is
	// refused, and not those at its address.
	at string
	// certified: it has a certificate.
	certified bool
	// taken: it was counted, for whoever it turned out to be of.
	taken bool
}

// before stands before whoever finds out who calls, and behind what turns errors into statuses: who has to wait hears so before a token is verified.
func (t *throttle) before() around {
	if t == nil {
		return around{}
	}
	return around{
		unary: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if access.OfMethod(info.FullMethod) == access.Probe {
				return handle(ctx, req)
			}
			ctx, v, err := t.enter(ctx)
			if err != nil {
				return nil, t.said(err, func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) }) // it is said in words, too
			}
			defer t.leave(v)
			return handle(ctx, req)
		},
		stream: func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if access.OfMethod(info.FullMethod) == access.Probe {
				return handle(srv, stream)
			}
			ctx, v, err := t.enter(stream.Context())
			if err != nil {
				return t.said(err, stream.SetTrailer)
			}
			defer t.leave(v)
			return handle(srv, contextStream{stream, ctx})
		},
	}
}

// behind stands behind it: the call is counted for whoever makes it, by what the permissions say of them, if there are any.
func (t *throttle) behind(p *permissions) around {
	if t == nil {
		return around{}
	}
	return around{
		unary: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if access.OfMethod(info.FullMethod) == access.Probe {
				return handle(ctx, req) // who asks for health asks for all others
			}
			if err := t.request(portGRPC, caller(ctx)); err != nil {
				return nil, t.said(err, func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) })
			}
			return handle(ctx, req)
		},
		stream: func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if access.OfMethod(info.FullMethod) == access.Probe {
				return handle(srv, stream)
			}
			client := caller(stream.Context())
			if single(info.FullMethod) { // where there are replicas, all calls come this way
				if err := t.request(portGRPC, client); err != nil {
					return t.said(err, stream.SetTrailer)
				}
				return handle(srv, stream)
			}
			if err := t.open(portGRPC, client, p.oneNode(stream.Context())); err != nil {
				return t.said(err, stream.SetTrailer)
			}
			defer t.close(client)
			if info.FullMethod == waftv1.ReportService_Report_FullMethodName {
				stream = &pacedStream{stream, rate.NewLimiter(reportsPerSecond, reportsAtOnce)}
			}
			return handle(srv, stream)
		},
	}
}

// enter refuses the calls of who has to wait, by its connection.
func (t *throttle) enter(ctx context.Context) (context.Context, *visit, error) {
	v := connected(ctx)
	if err := t.spent(portGRPC, v); err != nil {
		return ctx, v, err
	}
	return context.WithValue(ctx, visitKey{}, v), v, nil
}

// leave counts a call that nobody else has counted for its connection.
func (t *throttle) leave(v *visit) {
	if !v.taken {
		t.fail(v.at)
	}
}

// refused counts a call that is refused before enter, and gives the error that it is refused with: another one, where its client has to wait.
func (t *throttle) refused(ctx context.Context, err error) error {
	v := connected(ctx)
	if spent := t.spent(portGRPC, v); spent != nil {
		return spent
	}
	t.fail(v.at)
	return err
}

// connected is a visit by the connection that a call comes by.
func connected(ctx context.Context) *visit {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return &visit{}
	}
	if info, ok := from.AuthInfo.(credentials.TLSInfo); ok {
		if id, err := certified(&info.State); err == nil && id.Known() {
			return &visit{at: id.Name, certified: true}
		}
	}
	if from.Addr == nil {
		return &visit{}
	}
	return &visit{at: addressed(from.Addr.String())}
}

// caller is the client that makes a call: by who it is, or else by its connection. The call is counted by whoever asks.
func caller(ctx context.Context) string {
	v, _ := ctx.Value(visitKey{}).(*visit)
	if v == nil {
		v = &visit{}
	}
	v.taken = true
	if id := identityOf(ctx); id.Known() {
		return id.Name
	}
	return v.at
}

// said tells a client when to come again, and gives the error as a status.
func (t *throttle) said(err error, trailer func(metadata.MD)) error {
	if told, ok := err.(*throttled); ok {
		trailer(pushback(told.after))
	}
	return api.ToStatus(err)
}

// pushback is the trailer by which a client is told when to come again.
func pushback(after time.Duration) metadata.MD {
	return metadata.Pairs(pushbackKey, strconv.FormatInt(max(after.Milliseconds(), 1), 10))
}

// contextStream is a stream with another context.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context is grpc.ServerStream's.
func (s contextStream) Context() context.Context { return s.ctx }

// pacedStream reads no faster than it may.
type pacedStream struct {
	grpc.ServerStream
	pace *rate.Limiter
}

// RecvMsg is grpc.ServerStream's.
func (s *pacedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	wait := s.pace.Reserve().Delay()
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-s.Context().Done():
		return s.Context().Err()
	case <-t.C:
		return nil
	}
}
