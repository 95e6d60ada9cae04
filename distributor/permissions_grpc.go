package distributor

import (
	"context"
	"maps"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/cluster"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/xds"
	"github.com/waft-project/waft/distributor/xds/istio"
)

// interceptors ask about each call of a gRPC server; identify says who makes it. They stand behind those of api.ServerOptions, which turn errors into
// statuses.
func (p *permissions) interceptors(identify func(context.Context) (access.Identity, error)) around {
	if p == nil {
		return around{}
	}
	return around{
		unary: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			ctx, err := p.enter(ctx, info.FullMethod, identify)
			if err != nil {
				return nil, err
			}
			return handle(ctx, req)
		},
		stream: func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			policy := p.file.Policy()
			ctx, err := p.enter(stream.Context(), info.FullMethod, identify)
			if err != nil {
				return err
			}
			return handle(srv, &permittedStream{
				ServerStream: stream, ctx: ctx, permissions: p, action: access.OfMethod(info.FullMethod), request: callOf(ctx, info.FullMethod), policy: policy,
			})
		},
	}
}

// door refuses the calls of those who may make none, by their certificates, before their messages are read. A token takes time to verify, and the door must
// not wait; the interceptors read it. What is refused here counts for whoever limits say it is of, as what comes further does.
func (p *permissions) door(limits *throttle) tap.ServerInHandle {
	if p == nil {
		return nil
	}
	return func(ctx context.Context, call *tap.Info) (context.Context, error) {
		action := access.OfMethod(call.FullMethodName)
		if action == "" || action == access.Probe || len(call.Header.Get(authorizationKey)) > 0 {
			return ctx, nil
		}
		id, err := p.calling(ctx)
		if err == nil {
			err = p.file.Policy().Admits(id, action, time.Now())
		}
		if err == nil {
			return ctx, nil
		}
		said := limits.refused(ctx, err)
		if said == err { // who is not heard any more does not fill the log, either
			_ = p.logged(id, action, callOf(ctx, call.FullMethodName), err)
		}
		return nil, api.ToStatus(said)
	}
}

func callOf(ctx context.Context, method string) request {
	r := request{call: method}
	if from, ok := peer.FromContext(ctx); ok && from.Addr != nil {
		r.from = from.Addr.String()
	}
	return r
}

// enter asks whether whoever makes a call may make such a call at all, and gives the context that says who it is. What it calls itself, in the metadata,
// does not count any more.
func (p *permissions) enter(ctx context.Context, method string, identify func(context.Context) (access.Identity, error)) (context.Context, error) {
	action := access.OfMethod(method)
	if action == access.Probe {
		return ctx, nil
	}
	id, err := identify(ctx)
	if err != nil {
		return nil, p.logged(id, action, callOf(ctx, method), err)
	}
	if err := p.admit(id, action, callOf(ctx, method)); err != nil {
		return nil, err
	}
	md, _ := metadata.FromIncomingContext(ctx)
	md = md.Copy()
	md.Set(api.MetadataActor, api.EncodeActor(id.Name))
	return withIdentity(metadata.NewIncomingContext(ctx, md), id), nil
}

// permittedStream asks again while a stream goes on: when a message names the node that it is of, and with each message after the policy has changed or
// what its client is proved by has expired. Receiving and sending may be concurrent, as with every stream.
type permittedStream struct {
	grpc.ServerStream
	ctx         context.Context
	permissions *permissions
	action      access.Action
	request     request

	mu sync.Mutex
	// policy is the one that has been asked, node the one that it was asked about, and labels those that the node said it has when it was named first: by those it is
	// put into targets.
	policy *access.Policy
	node   string
	labels map[string]string
}

// Context is grpc.ServerStream's.
func (s *permittedStream) Context() context.Context { return s.ctx }

// RecvMsg is grpc.ServerStream's.
func (s *permittedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if _, passed := m.(*cluster.Frame); passed {
		return s.again("", nil) // the replica that leads reads it, and asks about the node that it names
	}
	node, labels := nodeNamed(m)
	if err := s.again(node, labels); err != nil {
		return err
	}
	if s.action == access.Connect && node == "" && !s.named() {
		return model.Invalidf("", "node", "name it in the first message", "whose stream this is, is not said, or not in a way that can be permitted")
	}
	return nil
}

// named says whether it is known which node the stream is of.
func (s *permittedStream) named() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.node != ""
}

// SendMsg is grpc.ServerStream's.
func (s *permittedStream) SendMsg(m any) error {
	if err := s.again("", nil); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(m)
}

// nodeNamed is the node that a message says it comes from, and the labels that it says the node has; empty for a message that does not say. Labels are nil only
// for messages by which no node gets any.
func nodeNamed(m any) (node string, labels map[string]string) {
	switch m := m.(type) {
	case *waftv1.ReportRequest:
		node, labels = m.GetHello().GetNode(), m.GetHello().GetLabels()
	case *mcpv1.RequestResources:
		node, labels = m.GetSinkNode().GetId(), m.GetSinkNode().GetAnnotations()
	default:
		if node, labels = istio.PermittedAs(m); node == "" {
			return xds.NodeNamed(m)
		}
	}
	if labels == nil {
		labels = map[string]string{} // it says that it has none
	}
	return node, labels
}

func (s *permittedStream) again(node string, labels map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, policy := identityOf(s.ctx), s.permissions.file.Policy()
	expired := !id.Expires.IsZero() && time.Now().After(id.Expires)
	if node == "" {
		node, labels = s.node, s.labels
	}
	changed := node == s.node && node != "" && len(labels) > 0 && !maps.Equal(labels, s.labels)
	if policy == s.policy && node == s.node && maps.Equal(labels, s.labels) && !expired {
		return nil
	}
	var err error
	if node == "" {
		err = s.permissions.admit(id, s.action, s.request)
	} else {
		err = about("node/"+node, s.permissions.decide(id, s.action, access.Object{Node: node, Labels: labels}, s.request))
	}
	switch {
	case err != nil:
		return err
	case changed:
		return model.Invalidf("node/"+node, "labels", "connect again to have others", "it says that it has other labels than when its stream began, which stand in the list of nodes, and which a policy judges")
	case node != s.node:
		s.node, s.labels = node, labels
	}
	s.policy = policy
	return nil
}
