package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// callTimeout bounds one call: a distributor that is stopped answers when it goes on.
const callTimeout = 5 * time.Second

// actorPrefix is what the actors of calls have before their numbers.
const actorPrefix = "chaos-"

// caller is a client of the API that logs every call. It may be used from any goroutine.
type caller struct {
	api *api.Client
	id  int
	log *callLog
	// marked: releases have the filter that may be disabled.
	marked bool
}

// callLog is the calls of all clients.
type callLog struct {
	mu    sync.Mutex
	calls []Call
	next  int
}

func (l *callLog) add(c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
}

func (l *callLog) number() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	return l.next
}

func newCaller(address string, id int, log *callLog) (*caller, error) {
	client, err := api.Dial(api.ClientConfig{Address: address, Insecure: true})
	if err != nil {
		return nil, err
	}
	return &caller{api: client, id: id, log: log}, nil
}

func (c *caller) close() { _ = c.api.Close() }

// call makes one call under an actor of its own, and logs it.
func (c *caller) call(ctx context.Context, op Op, object string, do func(ctx context.Context, call *Call) error) Call {
	call := Call{Client: c.id, Actor: fmt.Sprintf("%s%d", actorPrefix, c.log.number()), Op: op, Object: object}
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, api.MetadataActor, call.Actor), callTimeout)
	defer cancel()
	call.Begun = time.Now()
	err := do(ctx, &call)
	call.Ended = time.Now()
	call.Outcome = outcome(err)
	if err != nil {
		call.Error = err.Error()
		call.NotFound, call.Exists, call.Conflict = errors.Is(err, model.ErrNotFound), errors.Is(err, model.ErrExists), errors.Is(err, model.ErrConflict)
	}
	if call.Outcome == OK && op == OpUndo && call.Rollout.Name != object {
		// What takes back one that has ended is a rollout of its own: this call started it, or has seen it.
		other := call
		other.Op, other.Object, other.Changed = OpGet, call.Rollout.Name, false
		if call.Rollout.StartedBy == call.Actor {
			other.Op, other.Release = OpStart, call.Rollout.Release
		}
		c.log.add(other)
	}
	c.log.add(call)
	return call
}

// outcome says what a caller knows after an answer.
func outcome(err error) Outcome {
	if err == nil {
		return OK
	}
	for _, kind := range []error{model.ErrInvalid, model.ErrNotFound, model.ErrExists, model.ErrConflict, model.ErrPrecondition} {
		if errors.Is(err, kind) {
			return Refused
		}
	}
	return Unknown
}

func (c *caller) create(ctx context.Context, reference, stamp string, kind Kind) Call {
	return c.call(ctx, OpCreate, stamp, func(ctx context.Context, call *Call) error {
		value := new(structpb.Value)
		if err := value.UnmarshalJSON(config(kind, stamp)); err != nil {
			return err
		}
		filters := []*waftv1.FilterSpec{{Name: "stamp", Module: reference, Config: value}}
		if c.marked {
			mark, err := structpb.NewValue(map[string]any{"value": "on", "header": "x-mark"})
			if err != nil {
				return err
			}
			filters = append(filters, &waftv1.FilterSpec{Name: markFilter, Module: reference, Config: mark})
		}
		got, err := c.api.Releases.CreateRelease(ctx, &waftv1.CreateReleaseRequest{Reason: "chaos", Release: &waftv1.Release{
			ApiVersion: "waft.dev/v1", Kind: "Release", Metadata: &waftv1.ReleaseMetadata{Name: "chaos"},
			Spec: &waftv1.ReleaseSpec{Filters: filters},
		}})
		if err != nil {
			return err
		}
		call.ID = got.GetMetadata().GetName() + "@" + got.GetStatus().GetHash()
		return nil
	})
}

// start starts a rollout of a step.
func (c *caller) start(ctx context.Context, name, release string, step Step) Call {
	return c.call(ctx, OpStart, name, func(ctx context.Context, call *Call) error {
		call.Release, call.Asks = release, step.Asks
		spec := &waftv1.RolloutSpec{Release: release, Target: &waftv1.Target{Selector: "env=chaos"}}
		for i, share := range step.Shares {
			wave := &waftv1.Wave{Nodes: int32(share), Soak: step.Soak.String(), Deadline: waveDeadline.String()}
			if !step.Ungated {
				wave.Gates = []*waftv1.Gate{{ErrorRatio: &waftv1.ErrorRatioGate{Max: 0.05, MinSamples: 10}}}
			}
			if i+1 == step.Asks {
				wave.Gates = append(wave.Gates, &waftv1.Gate{Approval: &waftv1.ApprovalGate{Note: "chaos"}})
			}
			switch cohort := cohortOf(step.Cohort); {
			case cohort == nil:
			case i == 0:
				wave.Cohort = cohort
			case i == len(step.Shares)-1: // a rollout that had a cohort must say that it ends with everything
				wave.Nodes, wave.Percent = 0, 100
			}
			spec.Waves = append(spec.Waves, wave)
		}
		got, err := c.api.Rollouts.StartRollout(ctx, &waftv1.StartRolloutRequest{Reason: "chaos", Rollout: &waftv1.Rollout{
			ApiVersion: "waft.dev/v1", Kind: "Rollout", Metadata: &waftv1.RolloutMetadata{Name: name}, Spec: spec,
		}})
		if err != nil {
			return err
		}
		call.Rollout = readRollout(got)
		call.Changed = got.GetStatus().GetStartedBy() == call.Actor
		return nil
	})
}

// cohortOf is a cohort as the API has it; nil for all requests.
func cohortOf(c Cohort) *waftv1.Cohort {
	switch c {
	case ByHeader:
		return &waftv1.Cohort{Header: &waftv1.CohortHeader{Name: cohortHeader, Value: cohortValue}}
	case ByPercent:
		return &waftv1.Cohort{Percent: cohortPercent}
	}
	return nil
}

// tell gives a rollout a command.
func (c *caller) tell(ctx context.Context, op Op, name string) Call {
	return c.call(ctx, op, name, func(ctx context.Context, call *Call) error {
		request := &waftv1.RolloutActionRequest{Name: name, Reason: "chaos"}
		var got *waftv1.Rollout
		var err error
		switch op {
		case OpPause:
			got, err = c.api.Rollouts.PauseRollout(ctx, request)
		case OpResume:
			got, err = c.api.Rollouts.ResumeRollout(ctx, request)
		case OpPromo:
			got, err = c.api.Rollouts.PromoteRollout(ctx, request)
		case OpApprove:
			got, err = c.api.Rollouts.ApproveRollout(ctx, request)
		case OpAbort:
			got, err = c.api.Rollouts.AbortRollout(ctx, request)
		case OpUndo:
			got, err = c.api.Rollouts.UndoRollout(ctx, &waftv1.UndoRolloutRequest{Name: name, Reason: "chaos"})
		default:
			got, err = c.api.Rollouts.GetRollout(ctx, &waftv1.GetRolloutRequest{Name: name})
		}
		if err != nil {
			return err
		}
		call.Rollout = readRollout(got)
		call.Changed = slices.ContainsFunc(call.Rollout.Lines, func(l Line) bool { return l.Actor == call.Actor })
		return nil
	})
}

func (c *caller) get(ctx context.Context, name string) Call { return c.tell(ctx, OpGet, name) }

// retry has a node try what it has rejected once more.
func (c *caller) retry(ctx context.Context, node string) Call {
	return c.call(ctx, OpRetry, node, func(ctx context.Context, call *Call) error {
		_, err := c.api.Nodes.RetryNode(ctx, &waftv1.RetryNodeRequest{Id: node, Reason: "chaos"})
		call.Changed = err == nil
		return err
	})
}

// sample asks what the ledger says of every node.
func (c *caller) sample(ctx context.Context) ([]Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	begun := time.Now()
	got, err := c.api.Nodes.ListNodes(ctx, &waftv1.ListNodesRequest{})
	if err != nil {
		return nil, err
	}
	var out []Sample
	for _, n := range got.GetNodes() {
		s := Sample{Begun: begun, Ended: time.Now(), Node: n.GetId(), Connected: n.GetPresence() == "connected", Chain: n.GetChain(), Serving: n.GetServing()}
		for _, r := range n.GetReleases() {
			if strings.HasPrefix(r.GetRelease(), "chaos@") { // an emergency has one of its own
				s.Assigned = r.GetRelease()
			}
		}
		if l := n.GetLedger(); l.GetChain() == n.GetChain() && l.GetState() == waftv1.ChainState_SERVING {
			s.State = "serving"
		} else {
			s.State = l.GetState().String() + " " + l.GetReason()
		}
		s.Reason = n.GetLedger().GetReason()
		out = append(out, s)
	}
	return out, nil
}

// final reads how things stand.
func (c *caller) final(ctx context.Context, rollouts []string) (Final, error) {
	var f Final
	for _, name := range rollouts {
		call := c.get(ctx, name)
		if call.NotFound {
			continue
		}
		if call.Outcome != OK {
			return f, errors.New(call.Error)
		}
		f.Rollouts = append(f.Rollouts, *call.Rollout)
	}
	var err error
	if f.Nodes, err = c.sample(ctx); err != nil {
		return f, err
	}
	for token := ""; ; {
		page, err := c.api.Audit.ListAudit(ctx, &waftv1.ListAuditRequest{PageToken: token})
		if err != nil {
			return f, err
		}
		for _, e := range page.GetEntries() {
			f.Actors = append(f.Actors, e.GetAction()+" "+e.GetActor())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	for token := ""; ; {
		page, err := c.api.Releases.ListReleases(ctx, &waftv1.ListReleasesRequest{PageToken: token})
		if err != nil {
			return f, err
		}
		for _, r := range page.GetReleases() {
			f.Releases = append(f.Releases, r.GetMetadata().GetName()+"@"+r.GetStatus().GetHash())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	return f, nil
}

// readRollout takes from an answer what the checker reads.
func readRollout(r *waftv1.Rollout) *Rollout {
	s := r.GetStatus()
	out := &Rollout{
		Name: r.GetMetadata().GetName(), Release: s.GetRelease(), Undoes: s.GetUndoes(), Phase: s.GetPhase(), Message: s.GetMessage(),
		StartedBy: s.GetStartedBy(),
		Nodes:     map[string]Member{},
	}
	for i, w := range r.GetSpec().GetWaves() {
		switch c := w.GetCohort(); {
		case i > 0:
		case c.GetHeader() != nil:
			out.Cohort = ByHeader
		case c != nil:
			out.Cohort = ByPercent
		}
		soak, err := time.ParseDuration(w.GetSoak())
		if err != nil {
			soak = 0 // an undo has none
		}
		out.Soaks = append(out.Soaks, soak)
		if slices.ContainsFunc(w.GetGates(), func(g *waftv1.Gate) bool { return g.GetApproval() != nil }) {
			out.Asks = i + 1
		}
		if w.GetNodes() > 0 {
			out.Shares = append(out.Shares, int(w.GetNodes()))
		} else {
			out.Shares = append(out.Shares, scheduleNodes)
		}
	}
	if t := s.GetStartedAt(); t != nil {
		out.StartedAt = t.AsTime()
	}
	if t := s.GetEndedAt(); t != nil {
		out.EndedAt = t.AsTime()
	}
	for _, w := range s.GetWaves() {
		wave := Wave{Nodes: w.GetNodes(), StartedAt: w.GetStartedAt().AsTime(), ApprovedBy: w.GetApproval().GetActor()}
		if t := w.GetEndedAt(); t != nil {
			wave.EndedAt = t.AsTime()
		}
		out.Waves = append(out.Waves, wave)
	}
	for _, n := range s.GetNodes() {
		out.Nodes[n.GetNode()] = Member{State: n.GetState(), Wave: int(n.GetWave()), From: n.GetFrom()}
	}
	for _, l := range s.GetHistory() {
		out.Lines = append(out.Lines, Line{At: l.GetAt().AsTime(), Phase: l.GetPhase(), Wave: int(l.GetWave()), Actor: l.GetActor(), Text: l.GetMessage()})
	}
	return out
}
