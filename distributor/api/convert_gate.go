package api

import (
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// gateModel turns a gate into the model's. Whether exactly one is given, and whether it makes sense, the model says.
func gateModel(object, path string, g *waftv1.Gate) (model.GateSpec, error) {
	var out model.GateSpec
	var err error
	if e := g.GetErrorRatio(); e != nil {
		out.ErrorRatio = &model.ErrorRatioGate{Max: e.GetMax(), MinSamples: e.GetMinSamples()}
	}
	if d := g.GetDeniedRatio(); d != nil {
		out.DeniedRatio = &model.DeniedRatioGate{Max: d.GetMax(), MinSamples: d.GetMinSamples()}
	}
	if c := g.GetCoverage(); c != nil {
		out.Coverage = &model.CoverageGate{Min: c.GetMin(), MinSamples: c.GetMinSamples()}
	}
	if c := g.GetComparison(); c != nil {
		out.Comparison = &model.ComparisonGate{
			Of: model.Compared(c.GetOf()), MaxIncrease: c.GetMaxIncrease(), MinSamples: c.GetMinSamples(), Percentile: c.GetPercentile(),
		}
		if out.Comparison.Slack, err = parseDuration(object, path+".comparison.slack", c.GetSlack()); err != nil {
			return out, err
		}
	}
	if err := healthGateModel(object, path, g, &out); err != nil {
		return out, err
	}
	out.Statistic = statisticGateModel(g.GetStatistic())
	if a := g.GetApproval(); a != nil {
		out.Approval = &model.ApprovalGate{Note: a.GetNote()}
	}
	if p := g.GetPrometheus(); p != nil {
		out.Prometheus = &model.PrometheusGate{Name: p.GetName(), Server: p.GetServer(), Query: p.GetQuery(), Max: p.Max, Min: p.Min}
		if out.Prometheus.Every, err = parseDuration(object, path+".prometheus.every", p.GetEvery()); err != nil {
			return out, err
		}
	}
	if w := g.GetWebhook(); w != nil {
		out.Webhook = &model.WebhookGate{Name: w.GetName(), URL: w.GetUrl()}
		if out.Webhook.Every, err = parseDuration(object, path+".webhook.every", w.GetEvery()); err != nil {
			return out, err
		}
	}
	return out, nil
}

func gateProto(g model.GateSpec) *waftv1.Gate {
	out := &waftv1.Gate{}
	if e := g.ErrorRatio; e != nil {
		out.ErrorRatio = &waftv1.ErrorRatioGate{Max: e.Max, MinSamples: e.MinSamples}
	}
	if d := g.DeniedRatio; d != nil {
		out.DeniedRatio = &waftv1.DeniedRatioGate{Max: d.Max, MinSamples: d.MinSamples}
	}
	if c := g.Coverage; c != nil {
		out.Coverage = &waftv1.CoverageGate{Min: c.Min, MinSamples: c.MinSamples}
	}
	if c := g.Comparison; c != nil {
		out.Comparison = &waftv1.ComparisonGate{
			Of: string(c.Of), MaxIncrease: c.MaxIncrease, MinSamples: c.MinSamples, Percentile: c.Percentile, Slack: durationText(c.Slack),
		}
	}
	healthGateProto(g, out)
	out.Statistic = statisticGateProto(g.Statistic)
	if a := g.Approval; a != nil {
		out.Approval = &waftv1.ApprovalGate{Note: a.Note}
	}
	if p := g.Prometheus; p != nil {
		out.Prometheus = &waftv1.PrometheusGate{Name: p.Name, Server: p.Server, Query: p.Query, Max: p.Max, Min: p.Min, Every: durationText(p.Every)}
	}
	if w := g.Webhook; w != nil {
		out.Webhook = &waftv1.WebhookGate{Name: w.Name, Url: w.URL, Every: durationText(w.Every)}
	}
	return out
}
