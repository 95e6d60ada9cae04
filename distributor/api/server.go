package api

import (
	"context"
	"io"
	"net/url"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// Server serves the gRPC API. It may be registered with several gRPC servers and used concurrently.
type Server struct {
	service *service.Service
	version string
	backup  func(context.Context, io.Writer) error
	// stop ends all streams when it is done.
	stop context.Context
}

// NewServer makes the API over the service. version is what VersionService answers, and backup writes what BackupService sends; all streams end when stop does.
func NewServer(stop context.Context, s *service.Service, version string, backup func(context.Context, io.Writer) error) *Server {
	return &Server{service: s, version: version, backup: backup, stop: stop}
}

// Register adds the services of the API to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	waftv1.RegisterReleaseServiceServer(r, releases{Server: s})
	waftv1.RegisterRolloutServiceServer(r, rollouts{Server: s})
	waftv1.RegisterNodeServiceServer(r, nodes{Server: s})
	waftv1.RegisterFilterServiceServer(r, filters{Server: s})
	waftv1.RegisterFreezeServiceServer(r, freezes{Server: s})
	waftv1.RegisterArtifactServiceServer(r, artifacts{Server: s})
	waftv1.RegisterResourceServiceServer(r, resources{Server: s})
	waftv1.RegisterTypeServiceServer(r, types{Server: s})
	waftv1.RegisterSecretServiceServer(r, secrets{Server: s})
	waftv1.RegisterAuditServiceServer(r, audit{Server: s})
	waftv1.RegisterBackupServiceServer(r, backups{Server: s})
	waftv1.RegisterReportServiceServer(r, reports{Server: s})
	waftv1.RegisterVersionServiceServer(r, version{Server: s})
}

// actor is who asks, by the metadata, and why, by the request.
func actor(ctx context.Context, reason string) service.Actor {
	a := service.Actor{Reason: reason}
	if v := metadata.ValueFromIncomingContext(ctx, MetadataActor); len(v) > 0 {
		a.Name = v[0]
		if name, err := url.PathUnescape(v[0]); err == nil {
			a.Name = name
		}
	}
	return a
}

// paged is a request for a page of a list.
type paged interface {
	GetPageSize() int32
	GetPageToken() string
}

// fitting is the page that was asked for, or a shorter one where that is too large for a message: items may be large (a
// release holds configurations), and a list that cannot be read at all is of no use. list gives a page and its length.
func fitting[R proto.Message](req paged, list func(service.Page) (R, int, error)) (R, error) {
	page := service.Page{Size: int(req.GetPageSize()), Token: req.GetPageToken()}
	for {
		out, length, err := list(page)
		if err != nil || length <= 1 || proto.Size(out) <= maxListBytes {
			return out, err
		}
		page.Size = length / 2
	}
}

func errStopping() error {
	return &model.Error{Kind: model.ErrUnavailable, Object: "waft serve", Message: "is stopping", Next: "try again in a moment"}
}

type releases struct {
	waftv1.UnimplementedReleaseServiceServer
	*Server
}

func (s releases) CreateRelease(ctx context.Context, req *waftv1.CreateReleaseRequest) (*waftv1.Release, error) {
	draft, err := releaseDraft(req.GetRelease())
	if err != nil {
		return nil, err
	}
	r, err := s.service.CreateRelease(ctx, actor(ctx, req.GetReason()), draft)
	if err != nil {
		return nil, err
	}
	return releaseProto(r)
}

func (s releases) GetRelease(ctx context.Context, req *waftv1.GetReleaseRequest) (*waftv1.Release, error) {
	r, err := s.service.GetRelease(ctx, req.GetRef())
	if err != nil {
		return nil, err
	}
	return releaseProto(r)
}

func (s releases) ListReleases(ctx context.Context, req *waftv1.ListReleasesRequest) (*waftv1.ListReleasesResponse, error) {
	return fitting(req, func(page service.Page) (*waftv1.ListReleasesResponse, int, error) {
		list, next, err := s.service.ListReleases(ctx, req.GetName(), page)
		if err != nil {
			return nil, 0, err
		}
		out := &waftv1.ListReleasesResponse{NextPageToken: next}
		for _, r := range list {
			p, err := releaseProto(r)
			if err != nil {
				return nil, 0, err
			}
			out.Releases = append(out.Releases, p)
		}
		return out, len(list), nil
	})
}

type rollouts struct {
	waftv1.UnimplementedRolloutServiceServer
	*Server
}

func (s rollouts) StartRollout(ctx context.Context, req *waftv1.StartRolloutRequest) (*waftv1.Rollout, error) {
	draft, err := rolloutDraft(req)
	if err != nil {
		return nil, err
	}
	return rolloutOr(s.service.StartRollout(ctx, actor(ctx, req.GetReason()), draft))
}

func rolloutOr(r model.Rollout, err error) (*waftv1.Rollout, error) {
	if err != nil {
		return nil, err
	}
	return rolloutProto(r, true), nil
}

func (s rollouts) GetRollout(ctx context.Context, req *waftv1.GetRolloutRequest) (*waftv1.Rollout, error) {
	return rolloutOr(s.service.GetRollout(ctx, req.GetName()))
}

func (s rollouts) ListRollouts(ctx context.Context, req *waftv1.ListRolloutsRequest) (*waftv1.ListRolloutsResponse, error) {
	return fitting(req, func(page service.Page) (*waftv1.ListRolloutsResponse, int, error) {
		list, next, err := s.service.ListRollouts(ctx, page)
		if err != nil {
			return nil, 0, err
		}
		out := &waftv1.ListRolloutsResponse{NextPageToken: next}
		for _, r := range list {
			out.Rollouts = append(out.Rollouts, rolloutProto(r, false))
		}
		return out, len(list), nil
	})
}

func (s rollouts) WatchRollout(req *waftv1.WatchRolloutRequest, stream grpc.ServerStreamingServer[waftv1.Rollout]) error {
	changes, err := s.service.WatchRollout(stream.Context(), req.GetName())
	if err != nil {
		return err
	}
	for {
		select {
		case <-s.stop.Done():
			return errStopping()
		case r, open := <-changes:
			if !open {
				return s.ended(stream.Context())
			}
			if err := stream.Send(rolloutProto(r, true)); err != nil {
				return err
			}
			if r.Phase.Ended() {
				return nil
			}
		}
	}
}

// ended says why a watch was closed before the rollout had ended.
func (s rollouts) ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errStopping()
}

func (s rollouts) PauseRollout(ctx context.Context, req *waftv1.RolloutActionRequest) (*waftv1.Rollout, error) {
	return rolloutOr(s.service.Pause(ctx, actor(ctx, req.GetReason()), req.GetName()))
}

func (s rollouts) ResumeRollout(ctx context.Context, req *waftv1.RolloutActionRequest) (*waftv1.Rollout, error) {
	return rolloutOr(s.service.Resume(ctx, actor(ctx, req.GetReason()), req.GetName()))
}

func (s rollouts) PromoteRollout(ctx context.Context, req *waftv1.RolloutActionRequest) (*waftv1.Rollout, error) {
	return rolloutOr(s.service.Promote(ctx, actor(ctx, req.GetReason()), req.GetName()))
}

func (s rollouts) ApproveRollout(ctx context.Context, req *waftv1.RolloutActionRequest) (*waftv1.Rollout, error) {
	return rolloutOr(s.service.Approve(ctx, actor(ctx, req.GetReason()), req.GetName()))
}

func (s rollouts) PlanRollout(ctx context.Context, req *waftv1.StartRolloutRequest) (*waftv1.RolloutPlan, error) {
	draft, err := rolloutDraft(req)
	if err != nil {
		return nil, err
	}
	plan, err := s.service.PlanRollout(ctx, actor(ctx, req.GetReason()), draft)
	if err != nil {
		return nil, err
	}
	return planProto(plan), nil
}

func (s rollouts) PlanUndo(ctx context.Context, req *waftv1.UndoRolloutRequest) (*waftv1.RolloutPlan, error) {
	plan, err := s.service.PlanUndo(ctx, actor(ctx, req.GetReason()), req.GetName())
	if err != nil {
		return nil, err
	}
	return planProto(plan), nil
}

func (s rollouts) AbortRollout(ctx context.Context, req *waftv1.RolloutActionRequest) (*waftv1.Rollout, error) {
	return rolloutOr(s.service.Abort(ctx, actor(ctx, req.GetReason()), req.GetName()))
}

func (s rollouts) UndoRollout(ctx context.Context, req *waftv1.UndoRolloutRequest) (*waftv1.Rollout, error) {
	return rolloutOr(s.service.Undo(ctx, actor(ctx, req.GetReason()), req.GetName()))
}

type nodes struct {
	waftv1.UnimplementedNodeServiceServer
	*Server
}

func nodeOr(n service.NodeStatus, err error) (*waftv1.Node, error) {
	if err != nil {
		return nil, err
	}
	return nodeProto(n), nil
}

func (s nodes) GetNode(ctx context.Context, req *waftv1.GetNodeRequest) (*waftv1.Node, error) {
	n, err := s.service.GetNode(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	rendered, err := s.service.RenderedOn(ctx, req.GetId())
	if err != nil {
		// What it is assigned cannot be rendered: that is no reason to show nothing of the node.
		rendered = nil
	}
	out := nodeProto(n)
	out.Unfetched = n.Unfetched
	for _, r := range rendered {
		out.Rendered = append(out.Rendered, renderedProto(r))
	}
	if n.Moved != nil {
		out.Moved = moveProto(n.Moved, s.service.MoverOf(n.Moved.Rollout))
	}
	out.Next = s.next(ctx, req.GetId())
	if proto.Size(out) > maxListBytes {
		// What it is can be read still; what that consists of, the releases say.
		for _, r := range out.GetRendered() {
			r.Fields = nil
		}
		for _, n := range out.GetNext() {
			n.Changes = nil
		}
	}
	return out, nil
}

// nextPatience is for how long it is waited for what comes next on a node: while the store is away that is not known, and the rest is shown.
const nextPatience = 3 * time.Second

func (s nodes) next(ctx context.Context, id string) []*waftv1.NodeNext {
	ctx, cancel := context.WithTimeout(ctx, nextPatience)
	defer cancel()
	steps, err := s.service.NextOn(ctx, id)
	if err != nil {
		return []*waftv1.NodeNext{{Reason: "it is not known now: " + err.Error()}}
	}
	var out []*waftv1.NodeNext
	for _, step := range steps {
		out = append(out, nextProto(step))
	}
	return out
}

func (s nodes) ListNodes(ctx context.Context, req *waftv1.ListNodesRequest) (*waftv1.ListNodesResponse, error) {
	return fitting(req, func(page service.Page) (*waftv1.ListNodesResponse, int, error) {
		states := make([]service.NodeStanding, len(req.GetStates()))
		for i, state := range req.GetStates() {
			states[i] = service.NodeStanding(state)
		}
		list, next, err := s.service.ListNodes(ctx, req.GetSelector(), page, states...)
		if err != nil {
			return nil, 0, err
		}
		out := &waftv1.ListNodesResponse{NextPageToken: next}
		for _, n := range list {
			out.Nodes = append(out.Nodes, nodeProto(n))
		}
		return out, len(list), nil
	})
}

func (s nodes) RetryNode(ctx context.Context, req *waftv1.RetryNodeRequest) (*waftv1.Node, error) {
	return nodeOr(s.service.RetryNode(ctx, actor(ctx, req.GetReason()), req.GetId()))
}

func (s nodes) ReleaseNode(ctx context.Context, req *waftv1.ReleaseNodeRequest) (*waftv1.Node, error) {
	return nodeOr(s.service.ReleaseNode(ctx, actor(ctx, req.GetReason()), req.GetId()))
}

type audit struct {
	waftv1.UnimplementedAuditServiceServer
	*Server
}

func (s audit) ListAudit(ctx context.Context, req *waftv1.ListAuditRequest) (*waftv1.ListAuditResponse, error) {
	return fitting(req, func(page service.Page) (*waftv1.ListAuditResponse, int, error) {
		list, next, err := s.service.ListAudit(ctx, req.GetObject(), page)
		if err != nil {
			return nil, 0, err
		}
		out := &waftv1.ListAuditResponse{NextPageToken: next}
		for _, e := range list {
			out.Entries = append(out.Entries, auditProto(e))
		}
		return out, len(list), nil
	})
}

type version struct {
	waftv1.UnimplementedVersionServiceServer
	*Server
}

func (s version) GetVersion(context.Context, *waftv1.GetVersionRequest) (*waftv1.GetVersionResponse, error) {
	return &waftv1.GetVersionResponse{Version: s.version}, nil
}
