package distributor

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/xds/istio"
)

// permissions ask the access policy for every port and for the service, and log what is refused. Nil: there is no policy, and everybody may do
// everything. They may be used concurrently.
type permissions struct {
	file    *access.File
	tickets tickets
	issuers issuers
	log     *slog.Logger
	// warnings are how often the log may still be told of each client.
	warnings budgets
}

// redeem is tickets.redeem.
func (p *permissions) redeem(ctx context.Context) (access.Identity, error) {
	return p.tickets.redeem(ctx)
}

func newPermissions(file *access.File, log *slog.Logger) *permissions {
	if file == nil {
		return nil
	}
	return &permissions{file: file, log: log, warnings: budgets{rate: warningsPerSecond, burst: warningsAtOnce}}
}

// watch says in the log when the policy's file has changed, or cannot be used, until ctx ends.
func (p *permissions) watch(ctx context.Context) {
	p.file.Watch(ctx, func(policy *access.Policy, err error) {
		if err != nil {
			p.log.Error("the access policy's file cannot be used; the policy stays what it was", "error", err)
			return
		}
		p.log.Info("the access policy has changed", "policy", policy.Name())
	})
}

// request is what somebody wants to do, as it is logged.
type request struct {
	// call is the gRPC method, the HTTP method with its path, or the service's verb with its object.
	call string
	// from is the address that it comes from, where that is known.
	from string
}

// admit asks whether somebody may do such a thing anywhere.
func (p *permissions) admit(id access.Identity, a access.Action, r request) error {
	return p.logged(id, a, r, p.file.Policy().Admits(id, a, time.Now()))
}

// decide asks whether somebody may do that there.
func (p *permissions) decide(id access.Identity, a access.Action, o access.Object, r request) error {
	return p.logged(id, a, r, p.file.Policy().Decide(id, a, o, time.Now()))
}

// oneNode says whether whoever makes a call may be one node and nothing else.
func (p *permissions) oneNode(ctx context.Context) bool {
	return p != nil && p.file.Policy().OneNode(identityOf(ctx))
}

// maxLoggedCall bounds what is logged of a call, in bytes: a path may be as long as headers may be.
const maxLoggedCall = 256

// Refusals that are warned of, of one client: so many in a second, once warningsAtOnce were. The others are logged as those of reads are.
const (
	warningsPerSecond = 1
	warningsAtOnce    = 100
)

// logged writes down who was refused what. Requests that would have changed something are worth a warning; the others are not, and nor are those of strangers, since
// anybody can make as many as they like. Neither goes into the audit log, which is for what has happened: what is refused must not fill the store.
func (p *permissions) logged(id access.Identity, a access.Action, r request, err error) error {
	if err != nil {
		level := slog.LevelDebug
		if a.Writes() && id.Known() && p.warnings.take(id.Name) == 0 {
			level = slog.LevelWarn
		}
		p.log.Log(context.Background(), level, "denied", "who", id.Name, "action", string(a), "call", clipped(r.call), "from", r.from, "reason", err.Error())
	}
	return err
}

func clipped(call string) string {
	if len(call) <= maxLoggedCall {
		return call
	}
	return strings.ToValidUTF8(call[:maxLoggedCall], "") + "…"
}

// verbs is what each thing that the service asks about is.
var verbs = map[service.Verb]access.Action{
	service.VerbCreateRelease:  access.CreateRelease,
	service.VerbStartRollout:   access.MoveRollout,
	service.VerbPauseRollout:   access.MoveRollout,
	service.VerbResumeRollout:  access.MoveRollout,
	service.VerbPromoteRollout: access.MoveRollout,
	service.VerbAbortRollout:   access.MoveRollout,
	service.VerbUndoRollout:    access.MoveRollout,
	service.VerbApproveRollout: access.ApproveRollout,
	service.VerbDisableFilter:  access.DisableFilter,
	service.VerbEnableFilter:   access.DisableFilter,
	service.VerbExposeFilter:   access.ExposeFilter,
	service.VerbStartFreeze:    access.FreezeRollouts,
	service.VerbEndFreeze:      access.FreezeRollouts,
	service.VerbRetryNode:      access.TendNode,
	service.VerbReleaseNode:    access.TendNode,

	service.VerbApplyResource:     access.WriteResource,
	service.VerbDeleteResource:    access.WriteResource,
	service.VerbDeclareCollection: access.WriteResource,
	service.VerbRegisterTypes:     access.WriteResource,

	service.VerbSetSecret:    access.WriteSecret,
	service.VerbDeleteSecret: access.WriteSecret,
	service.VerbRekeySecrets: access.RekeySecrets,

	service.VerbInlineModule: access.Push,
}

// May is service.Roles'.
func (p *permissions) May(ctx context.Context, act service.Act) error {
	err := p.decide(identityOf(ctx), verbs[act.Verb], access.Object{Layer: act.Layer, StartedBy: act.StartedBy, Repository: act.Repository}, request{call: string(act.Verb) + " " + act.Object})
	return about(act.Object, err)
}

// Edition is service.Labels'.
func (p *permissions) Edition() any { return p.file.Policy() }

// MayHave is service.Labels'.
func (p *permissions) MayHave(node string, labels map[string]string) bool {
	if as, is := istio.PermittedID(node); is {
		node = as
	}
	return p.file.Policy().MayHave(node, labels)
}

// about says an error of the policy about an object instead of about who asks, who stands in its message then.
func about(object string, err error) error {
	told, ok := err.(*model.Error)
	if !ok || told.Object == "" {
		return err
	}
	said := *told
	said.Object, said.Message = object, told.Object+" "+told.Message
	return &said
}
