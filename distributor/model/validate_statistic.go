package model

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Bounds of gates on statistics.
const (
	// MaxStatistics is how many statistics all gates of a rollout may need: nodes report them with each heartbeat of a rollout.
	MaxStatistics = 32
	// MaxStatisticName is the length of a name in Envoy, in bytes, and MaxStatisticAlias of one in an expression.
	MaxStatisticName  = 256
	MaxStatisticAlias = 32
	// MaxExpression is the length of an expression, in bytes.
	MaxExpression = 1024
)

// validateStatistic says what is wrong with a gate but for its expressions, whose language is not known here.
func validateStatistic(object, at string, g StatisticGate) error {
	problems := []error{validateText(object, at+".name", g.Name)}
	if len(g.Statistics) == 0 {
		problems = append(problems, Invalidf(object, at+".statistics", "name the ones that the expression needs, such as {orders: wasmcustom.orders_total}", "is empty"))
	}
	for _, alias := range slices.Sorted(maps.Keys(g.Statistics)) {
		if !isAlias(alias) {
			problems = append(problems, Invalidf(object, at+".statistics", fmt.Sprintf("use letters, 0 to 9 and _, from a letter on, at most %d", MaxStatisticAlias), "%q is no name for an expression", alias))
		}
		if name := g.Statistics[alias]; !isStatistic(name) {
			problems = append(problems, Invalidf(object, at+".statistics."+alias, fmt.Sprintf("write it as Envoy's /stats does, at most %d bytes", MaxStatisticName), "%q is no name of a statistic", name))
		}
	}
	if g.Expression == "" {
		problems = append(problems, Invalidf(object, at+".expression", "write what must hold, such as increase.orders > 0.0", "is empty"))
	}
	return errors.Join(append(problems, validateLength(object, at+".expression", g.Expression), validateLength(object, at+".once", g.Once))...)
}

func validateLength(object, at, expression string) error {
	if len(expression) > MaxExpression {
		return Invalidf(object, at, "make it shorter", "%d bytes are more than %d", len(expression), MaxExpression)
	}
	return nil
}

func isAlias(text string) bool {
	for i, c := range []byte(text) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && (c == '_' || c >= '0' && c <= '9')) {
			return false
		}
	}
	return text != "" && len(text) <= MaxStatisticAlias
}

// isStatistic says whether a statistic of Envoy may have that name: one printable word.
func isStatistic(text string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return text != "" && len(text) <= MaxStatisticName
}
