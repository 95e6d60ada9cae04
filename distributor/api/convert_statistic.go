package api

import (
	"maps"
	"math"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

func statisticGateModel(g *waftv1.StatisticGate) *model.StatisticGate {
	if g == nil {
		return nil
	}
	return &model.StatisticGate{Name: g.GetName(), Statistics: maps.Clone(g.GetStatistics()), Expression: g.GetExpression(), Once: g.GetOnce(), WholeNode: g.GetWholeNode()}
}

func statisticGateProto(g *model.StatisticGate) *waftv1.StatisticGate {
	if g == nil {
		return nil
	}
	return &waftv1.StatisticGate{Name: g.Name, Statistics: maps.Clone(g.Statistics), Expression: g.Expression, Once: g.Once, WholeNode: g.WholeNode}
}

// valuesModel takes the statistics that a node was asked for; what it was not asked for may be among them, and is bounded.
func valuesModel(node string, values map[string]*waftv1.StatisticValue) (map[string]model.StatisticValue, error) {
	if len(values) == 0 {
		return nil, nil
	}
	if len(values) > model.MaxStatistics {
		return nil, model.Invalidf("node/"+node, "statistics.values", "send those that were asked for", "%d are more than %d", len(values), model.MaxStatistics)
	}
	out := make(map[string]model.StatisticValue, len(values))
	for name, v := range values {
		for _, n := range []float64{v.GetValue(), v.GetIncrease()} {
			if math.IsNaN(n) || math.IsInf(n, 0) {
				return nil, model.Invalidf("node/"+node, "statistics.values", "send numbers", "%.*q is %v", model.MaxStatisticName, name, n)
			}
		}
		if len(name) <= model.MaxStatisticName {
			out[name] = model.StatisticValue{Value: v.GetValue(), Increase: v.GetIncrease()}
		}
	}
	return out, nil
}
