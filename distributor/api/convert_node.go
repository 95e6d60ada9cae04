package api

import (
	"maps"
	"slices"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

var states = map[waftv1.ChainState]model.ChainState{
	waftv1.ChainState_OFFERED:  model.ChainOffered,
	waftv1.ChainState_FETCHED:  model.ChainFetched,
	waftv1.ChainState_LOADED:   model.ChainLoaded,
	waftv1.ChainState_SERVING:  model.ChainServing,
	waftv1.ChainState_DEGRADED: model.ChainDegraded,
	waftv1.ChainState_REJECTED: model.ChainRejected,
}

func stateProto(s model.ChainState) waftv1.ChainState {
	for to, from := range states {
		if from == s {
			return to
		}
	}
	return waftv1.ChainState_CHAIN_STATE_UNSPECIFIED
}

func nodeProto(n service.NodeStatus) *waftv1.Node {
	out := &waftv1.Node{
		Id: n.ID, Labels: n.Labels, EnvoyVersion: n.EnvoyVersion, EnvoyBuild: n.EnvoyBuild, AgentVersion: n.AgentVersion,
		Presence: string(n.Presence), LastSeen: timeProto(n.LastSeen), Chain: n.Chain, Serving: n.Serving, Previous: n.Previous,
		Reports: n.Reports, Dialect: n.Dialect, Collections: n.Takes.Collections,
	}
	for _, layer := range slices.Sorted(maps.Keys(n.Assigned)) {
		out.Releases = append(out.Releases, &waftv1.ReleaseRef{Layer: string(layer), Release: n.Assigned[layer].String()})
	}
	if s := n.Split; s != (model.NodeSplit{}) {
		out.Split = &waftv1.NodeSplit{Release: &waftv1.ReleaseRef{Layer: string(s.Layer), Release: s.Release.String()}, Cohort: cohortProto(s.Cohort)}
	}
	if i := n.Isolated; i != nil {
		out.Isolated = &waftv1.Isolation{Rollout: i.Rollout, Reason: i.Reason, Since: timeProto(i.Since)}
	}
	for _, d := range n.Disabled {
		out.Disabled = append(out.Disabled, disabledProto(d))
	}
	if e := n.LastError; e != nil {
		out.LastError = &waftv1.NodeError{Chain: e.Chain, State: stateProto(e.State), Step: e.Step, Reason: e.Reason, At: timeProto(e.At)}
	}
	// One that was given nothing has no chain, and maybe a reason why.
	if l := n.Ledger; l.Chain != "" || l.Reason != "" {
		out.Ledger = &waftv1.LedgerEntry{
			Chain: l.Chain, State: stateProto(l.State), Reason: l.Reason, Step: l.Step, Final: l.Final,
			OfferedAt: timeProto(l.Times[model.ChainOffered]), FetchedAt: timeProto(l.Times[model.ChainFetched]),
			LoadedAt: timeProto(l.Times[model.ChainLoaded]), ServingAt: timeProto(l.Times[model.ChainServing]),
			RejectedAt: timeProto(l.Times[model.ChainRejected]), DegradedAt: timeProto(l.Times[model.ChainDegraded]), Secrets: l.Secrets,
		}
		if l.State == model.ChainDegraded && out.Ledger.ServingAt == nil {
			out.Ledger.ServingAt = timeProto(l.Times[model.ChainDegraded])
		}
	}
	return out
}

// moveProto is by what a node was given what it is to run; nil where that is not noted.
func moveProto(m *model.Move, by service.Mover) *waftv1.NodeMove {
	if m == nil {
		return nil
	}
	return &waftv1.NodeMove{
		Rollout: m.Rollout, Wave: int32(m.Wave + 1), At: timeProto(m.At), Back: m.Back, Joined: m.Joined,
		Phase: string(by.Phase), StartedBy: by.StartedBy, Reason: by.Reason, Stays: m.Joined || m.First || by.Enables,
	}
}

func nextProto(n service.NextStep) *waftv1.NodeNext {
	out := &waftv1.NodeNext{
		Rollout: n.Rollout, Wave: int32(n.Wave + 1), Phase: string(n.Phase), Message: n.Message, Reason: n.Reason, Back: n.Back,
		Chain: n.To, From: n.From, Cohort: cohortProto(n.Cohort),
	}
	if n.Release != (model.ReleaseID{}) {
		out.Release = &waftv1.ReleaseRef{Layer: string(n.Layer), Release: n.Release.String()}
	}
	for _, f := range n.Changes {
		out.Changes = append(out.Changes, filterChangeProto(f))
	}
	return out
}

func auditProto(e model.AuditEntry) *waftv1.AuditEntry {
	return &waftv1.AuditEntry{
		Sequence: e.Sequence, At: timeProto(e.At), Actor: e.Actor, Action: e.Action, Object: e.Object, Reason: e.Reason, Detail: e.Detail,
		Previous: e.Previous, Hash: e.Hash,
	}
}

// AuditEntry is the entry as the distributor wrote it, so that who got it can check its hash.
func AuditEntry(e *waftv1.AuditEntry) model.AuditEntry {
	return model.AuditEntry{
		Sequence: e.GetSequence(), At: timeModel(e.GetAt()), Actor: e.GetActor(), Action: e.GetAction(), Object: e.GetObject(), Reason: e.GetReason(), Detail: e.GetDetail(),
		Previous: e.GetPrevious(), Hash: e.GetHash(),
	}
}

func helloModel(h *waftv1.Hello) service.NodeHello {
	hello := service.NodeHello{
		ID: h.GetNode(), Labels: h.GetLabels(), Reports: true, EnvoyVersion: h.GetEnvoyVersion(), EnvoyBuild: h.GetEnvoyBuild(),
		AgentVersion: h.GetAgentVersion(), Generation: h.GetGeneration(), Splits: h.GetSplits(), Resources: h.GetResources(), Secrets: h.GetSecrets(), KeptSecrets: h.GetKeptSecrets(),
	}
	if h.GetApplication() {
		hello.Dialect = model.DialectApplication
		hello.Takes.Collections = slices.Compact(slices.Sorted(slices.Values(h.GetCollections())))
	}
	return hello
}

func chainReport(node string, c *waftv1.ChainReport) (service.ChainReport, error) {
	state, ok := states[c.GetState()]
	if !ok && c.GetHash() != "" {
		return service.ChainReport{}, model.Invalidf("node/"+node, "chain.state", "give one of the states of the ledger", "%d is no state", c.GetState())
	}
	for field, hash := range map[string]string{"chain.hash": c.GetHash(), "chain.serving_hash": c.GetServingHash()} {
		if len(hash) > service.MaxReportHash {
			return service.ChainReport{}, model.Invalidf("node/"+node, field, "send the hash of a chain, sha256:HEX", "%d bytes are no hash", len(hash))
		}
	}
	secrets, err := secretVersions(node, c.GetSecrets())
	if err != nil {
		return service.ChainReport{}, err
	}
	return service.ChainReport{
		Secrets: secrets,
		Chain:   c.GetHash(), State: state, Reason: c.GetReason(), Final: c.GetFinal(), Step: c.GetStep(),
		Serving: c.GetServingHash(), Generation: c.GetGeneration(),
	}, nil
}

// secretVersions checks what a node says of its secrets: it goes into the node's row, whose size is bounded.
func secretVersions(node string, secrets map[string]string) (map[string]string, error) {
	if n := len(secrets); n > model.MaxChainSecrets {
		return nil, model.Invalidf("node/"+node, "chain.secrets", "send those of the chain", "%d secrets are more than %d", n, model.MaxChainSecrets)
	}
	for ref, version := range secrets {
		if len(ref) > service.MaxReportSecret || len(version) > service.MaxReportStep {
			return nil, model.Invalidf("node/"+node, "chain.secrets", "send what names a secret, and a short version", "%d and %d bytes are too many", len(ref), len(version))
		}
	}
	if len(secrets) == 0 {
		return nil, nil
	}
	return secrets, nil
}

func statisticsModel(node string, s *waftv1.Statistics) (model.Statistics, error) {
	for field, n := range map[string]int64{
		"requests": s.GetRequests(), "errors": s.GetErrors(), "denied": s.GetDenied(), "seen_by_filters": s.GetSeenByFilters(),
		"cohort.requests": s.GetCohort().GetRequests(), "cohort.errors": s.GetCohort().GetErrors(), "cohort.denied": s.GetCohort().GetDenied(),
		"cohort.seen_by_filters": s.GetCohort().GetSeenByFilters(),
	} {
		if n < 0 {
			return model.Statistics{}, notCounted(node, field, n)
		}
	}
	health, err := healthModel(node, s.GetHealth())
	if err != nil {
		return model.Statistics{}, err
	}
	values, err := valuesModel(node, s.GetValues())
	if err != nil {
		return model.Statistics{}, err
	}
	cohort, err := healthModel(node, s.GetCohort().GetHealth())
	if err != nil {
		return model.Statistics{}, err
	}
	out := model.Statistics{
		Chain: s.GetHash(), Requests: s.GetRequests(), Errors: s.GetErrors(), Denied: s.GetDenied(), Seen: s.GetSeenByFilters(), At: timeModel(s.GetAt()), Health: health, Values: values,
		DeniedKnown: s.GetDeniedKnown(),
	}
	if c := s.GetCohort(); c != nil {
		out.Cohort = model.CohortStatistics{Known: true, Requests: c.GetRequests(), Errors: c.GetErrors(), Denied: c.GetDenied(), Seen: c.GetSeenByFilters(), Health: cohort}
	}
	return out, nil
}

func renderedProto(r service.Rendered) *waftv1.Rendered {
	out := &waftv1.Rendered{Collection: r.Collection, Name: r.Name, Version: r.Version, Type: r.Type}
	for _, f := range r.Fields {
		out.Fields = append(out.Fields, &waftv1.RenderedField{Path: f.Path, Layer: string(f.Layer), Value: f.Value})
	}
	return out
}
