package model

import (
	"fmt"
	"strconv"
	"strings"
)

// Cap is the most nodes that may be on their way or not serving at any moment: a number of them, or a part of those that are there. Nodes or
// Percent is set, or neither: the zero value is no cap.
type Cap struct {
	Nodes int
	// Percent is of the nodes of the fleet that are there and were given something.
	Percent int
}

// ParseCap reads what a person writes: a number of nodes, or a percentage such as 5%. Empty: no cap.
func ParseCap(text string) (Cap, error) {
	if text == "" {
		return Cap{}, nil
	}
	number, percent := strings.CutSuffix(text, "%")
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || n < 1 || percent && n > 100:
		return Cap{}, fmt.Errorf("%q is no cap; write how many nodes, at least 1, or a part of the fleet from 1%% to 100%%", text)
	case percent:
		return Cap{Percent: n}, nil
	}
	return Cap{Nodes: n}, nil
}

// Of is how many of so many nodes that is; a part is rounded down, and is one node at least, since nothing could ever move otherwise. Zero: no cap.
func (c Cap) Of(nodes int) int {
	if c.Percent > 0 {
		return max(nodes*c.Percent/100, 1)
	}
	return c.Nodes
}

// String is what ParseCap reads.
func (c Cap) String() string {
	switch {
	case c.Percent > 0:
		return fmt.Sprintf("%d%%", c.Percent)
	case c.Nodes > 0:
		return strconv.Itoa(c.Nodes)
	}
	return ""
}
