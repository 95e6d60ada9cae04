package gates_test

import (
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/gates"
	"github.com/waft-project/waft/distributor/model"
)

func expressions(t testing.TB) *gates.Expressions {
	t.Helper()
	x, err := gates.NewExpressions()
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// over is a gate on two statistics.
func over(expression, once string) model.StatisticGate {
	return model.StatisticGate{Statistics: map[string]string{"bad": "wasmcustom.orders_failed", "all": "wasmcustom.orders"}, Expression: expression, Once: once}
}

func TestExpressionsThatCannotBeJudged(t *testing.T) {
	x := expressions(t)
	for name, test := range map[string]struct {
		expression, once string
		words            string
	}{
		"good":                              {"increase.bad / increase.all < 0.01 && highest.bad <= value.bad && nodes > 0", "increase.all >= 100.0", ""},
		"good, with CEL's own functions":    {"[increase.bad, value.bad].all(x, x < 3.0)", "", ""},
		"no CEL":                            {"increase.bad <", "", "expression: "},
		"a number":                          {"increase.bad", "", "it gives a double"},
		"a whole number beside a double":    {"increase.bad < 1", "", "no matching overload"},
		"a statistic that it does not name": {"increase.lost < 1.0", "", "undeclared reference"},
		"a variable that there is none":     {"now() > increase.bad", "", "undeclared reference"},
		"once that is no CEL":               {"increase.bad < 1.0", "maybe", "once: "},
		"too much to do": {
			"[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, a+b+c+d+e > 0)))))",
			"", "steps, which is more than 10000",
		},
	} {
		err := x.Check(over(test.expression, test.once))
		if (err == nil) != (test.words == "") || err != nil && !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v; want %q", name, err, test.words)
		}
	}
}

func TestJudge(t *testing.T) {
	x := expressions(t)
	reading := func(bad, all float64) model.StatisticReading {
		return model.StatisticReading{
			Nodes: 2, Increase: map[string]float64{"bad": bad, "all": all},
			Value: map[string]float64{"bad": bad + 5, "all": all + 5}, Highest: map[string]float64{"bad": bad, "all": all},
		}
	}
	const ratio, enough = "increase.bad / increase.all <= 0.1", "increase.all >= 100.0"
	for name, test := range map[string]struct {
		gate    model.StatisticGate
		reading model.StatisticReading
		want    model.GateVerdict
		words   string
	}{
		"holds":                           {over(ratio, enough), reading(10, 100), model.VerdictPass, ratio + " holds (nodes 2; all: increase 100, value 105, highest 100; bad: increase 10"},
		"does not":                        {over(ratio, enough), reading(11, 100), model.VerdictFail, "does not hold"},
		"not yet":                         {over(ratio, enough), reading(99, 99), model.VerdictInconclusive, enough + " does not hold yet"},
		"nothing by nothing":              {over(ratio, ""), reading(0, 0), model.VerdictInconclusive, "divides by zero"},
		"something by nothing":            {over(ratio, ""), reading(1, 0), model.VerdictInconclusive, "divides by zero"},
		"nothing by nothing, turned over": {over("!("+ratio+")", ""), reading(0, 0), model.VerdictInconclusive, "divides by zero"},
		"guarded in the expression":       {over("increase.all == 0.0 || "+ratio, ""), reading(0, 0), model.VerdictPass, ""},
		"the sum of values":               {over("value.bad == 15.0", ""), reading(10, 10), model.VerdictPass, ""},
		"the highest":                     {over("highest.bad < 10.0", ""), reading(10, 10), model.VerdictFail, ""},
		"of how many nodes":               {over("nodes == 2", ""), reading(0, 0), model.VerdictPass, ""},
		"whole numbers by zero":           {over("nodes / 0 == 1", ""), reading(0, 0), model.VerdictInconclusive, "division by zero"},
	} {
		for range 2 { // compiled, and kept
			if verdict, detail := x.Judge(test.gate, test.reading); verdict != test.want || !strings.Contains(detail, test.words) {
				t.Errorf("%s: %s (%s), want %s (%s)", name, verdict, detail, test.want, test.words)
			}
		}
	}
}

// FuzzExpressions: whatever is written, it is judged within bounds, and the same way twice.
func FuzzExpressions(f *testing.F) {
	for _, text := range []string{"increase.bad < 1.0", "[1,2].all(x, [3,4].exists(y, x < y))", "'a' + 'b' == 'ab'", "timestamp('2026-01-01T00:00:00Z') < timestamp('2027-01-01T00:00:00Z')", "1/0 == 0"} {
		f.Add(text)
	}
	x := expressions(f)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > model.MaxExpression {
			return
		}
		gate := over(text, "")
		if x.Check(gate) != nil {
			return
		}
		reading := model.StatisticReading{Nodes: 1, Increase: map[string]float64{"bad": 1, "all": 2}, Value: map[string]float64{"bad": 1, "all": 2}, Highest: map[string]float64{"bad": 1, "all": 2}}
		verdict, detail := x.Judge(gate, reading)
		again, said := x.Judge(gate, reading)
		if verdict != again || detail != said {
			t.Errorf("%q: %s (%s), then %s (%s)", text, verdict, detail, again, said)
		}
	})
}
