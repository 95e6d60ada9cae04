package gates

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// Limits of expressions.
const (
	// maxCost bounds what judging one may cost, in CEL's own unit: some thousands of comparisons.
	maxCost = 10_000
	// maxPrograms is how many compiled expressions are kept; rollouts that run need no more.
	maxPrograms = 256
)

// Variables of expressions: nodes, and each of the others with the name of a statistic behind a dot.
const (
	varNodes    = "nodes"
	varIncrease = "increase."
	varValue    = "value."
	varHighest  = "highest."
)

// Expressions judges gates on statistics in CEL. Use NewExpressions. It may be used concurrently.
type Expressions struct {
	env *cel.Env

	mu sync.Mutex
	// programs by their text and the names that they may use. An expression is compiled once, and judged each time that a node reports.
	programs map[string]cel.Program
}

var _ service.Expressions = (*Expressions)(nil)

// NewExpressions makes an Expressions. Its language is CEL's own, without extensions, over numbers: nothing in it depends on the time or the
// machine.
func NewExpressions() (*Expressions, error) {
	env, err := cel.NewEnv(cel.Variable(varNodes, cel.IntType))
	if err != nil {
		return nil, fmt.Errorf("make the language of expressions: %w", err)
	}
	return &Expressions{env: env, programs: map[string]cel.Program{}}, nil
}

// Check says why the expressions of a gate cannot be judged: they are no CEL, do not give true or false, use a statistic that the gate does not
// name, or cost too much.
func (x *Expressions) Check(gate model.StatisticGate) error {
	aliases := slices.Sorted(maps.Keys(gate.Statistics))
	for _, e := range [...]struct{ field, text string }{{"expression", gate.Expression}, {"once", gate.Once}} {
		if e.text == "" {
			continue
		}
		checked, err := x.compile(e.text, aliases)
		if err != nil {
			return fmt.Errorf("%s: %w", e.field, err)
		}
		env, err := x.over(aliases)
		if err != nil {
			return err
		}
		estimate, err := env.EstimateCost(checked, flat{})
		if err != nil {
			return fmt.Errorf("%s: %w", e.field, err)
		}
		if estimate.Max > maxCost {
			return fmt.Errorf("%s: it may take %d steps, which is more than %d", e.field, estimate.Max, maxCost)
		}
	}
	return nil
}

// flat estimates the cost of numbers: each is as large as any other.
type flat struct{}

func (flat) EstimateSize(cost.AstNode) *cost.SizeEstimate { return nil }

func (flat) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// Judge evaluates the expressions.
func (x *Expressions) Judge(gate model.StatisticGate, reading model.StatisticReading) (model.GateVerdict, string) {
	said := describe(reading)
	if gate.Once != "" {
		switch holds, err := x.eval(gate.Once, reading); {
		case err != nil:
			return model.VerdictInconclusive, fmt.Sprintf("%s cannot be judged: %v (%s)", gate.Once, err, said)
		case !holds:
			return model.VerdictInconclusive, fmt.Sprintf("%s does not hold yet (%s)", gate.Once, said)
		}
	}
	switch holds, err := x.eval(gate.Expression, reading); {
	case err != nil:
		return model.VerdictInconclusive, fmt.Sprintf("%s cannot be judged: %v (%s)", gate.Expression, err, said)
	case !holds:
		return model.VerdictFail, fmt.Sprintf("%s does not hold (%s)", gate.Expression, said)
	}
	return model.VerdictPass, fmt.Sprintf("%s holds (%s)", gate.Expression, said)
}

// describe shows the numbers that decided.
func describe(r model.StatisticReading) string {
	words := []string{fmt.Sprintf("nodes %d", r.Nodes)}
	for _, alias := range slices.Sorted(maps.Keys(r.Value)) {
		words = append(words, fmt.Sprintf("%s: increase %.6g, value %.6g, highest %.6g", alias, r.Increase[alias], r.Value[alias], r.Highest[alias]))
	}
	return strings.Join(words, "; ")
}

// over is the language over some statistics.
func (x *Expressions) over(aliases []string) (*cel.Env, error) {
	var variables []cel.EnvOption
	for _, alias := range aliases {
		for _, of := range []string{varIncrease, varValue, varHighest} {
			variables = append(variables, cel.Variable(of+alias, cel.DoubleType))
		}
	}
	return x.env.Extend(variables...)
}

// compile parses and checks an expression.
func (x *Expressions) compile(text string, aliases []string) (*cel.Ast, error) {
	env, err := x.over(aliases)
	if err != nil {
		return nil, err
	}
	checked, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		return nil, err
	}
	if checked.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("it gives a %s, not true or false", checked.OutputType())
	}
	return checked, nil
}

// program is a compiled expression.
func (x *Expressions) program(text string, aliases []string) (cel.Program, error) {
	key := strings.Join(append(slices.Clone(aliases), text), "\x00")
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := x.programs[key]; p != nil {
		return p, nil
	}
	checked, err := x.compile(text, aliases)
	if err != nil {
		return nil, err
	}
	env, err := x.over(aliases)
	if err != nil {
		return nil, err
	}
	// The state shows what a comparison hides, see eval.
	p, err := env.Program(checked, cel.EvalOptions(cel.OptTrackState), cel.CostLimit(maxCost))
	if err != nil {
		return nil, err
	}
	if len(x.programs) >= maxPrograms {
		clear(x.programs)
	}
	x.programs[key] = p
	return p, nil
}

var errNoNumber = errors.New("it divides by zero, or by next to nothing; say by once from when on it does not")

func (x *Expressions) eval(text string, r model.StatisticReading) (bool, error) {
	p, err := x.program(text, slices.Sorted(maps.Keys(r.Value)))
	if err != nil {
		return false, err
	}
	variables := map[string]any{varNodes: int64(r.Nodes)}
	for alias := range r.Value {
		variables[varIncrease+alias], variables[varValue+alias], variables[varHighest+alias] = r.Increase[alias], r.Value[alias], r.Highest[alias]
	}
	out, details, err := p.Eval(variables)
	if err != nil {
		return false, err
	}
	// What is no number is less than nothing, and more than nothing neither: it would decide the gate, and must not.
	for _, id := range details.State().IDs() {
		if v, known := details.State().Value(id); known {
			if number, is := v.Value().(float64); is && (math.IsNaN(number) || math.IsInf(number, 0)) {
				return false, errNoNumber
			}
		}
	}
	holds, is := out.Value().(bool)
	if !is {
		return false, fmt.Errorf("it gives %v", out.Value())
	}
	return holds, nil
}
