package rollout

import (
	"fmt"

	"github.com/waft-project/waft/distributor/model"
)

// FleetCap is the cap that holds for every rollout of a fleet, whatever its spec says. The zero value is none.
type FleetCap struct {
	model.Cap
	// Fleet is how many nodes there are that a percentage is of.
	Fleet int
}

// limit is how many nodes of the fleet may be on their way or not serving: the smaller of what the spec and the fleet allow; zero: any number.
func (m *machine) limit() int {
	own, all := m.state.Spec.MaxNotServing, m.cap.Of(m.cap.Fleet)
	if own == 0 || all > 0 && all < own {
		return all
	}
	return own
}

// mostAllowed is the limit as the history tells it. It is that of the spec and the fleet, and does not change with each node that comes and goes: each
// change of the words is a line.
func (m *machine) mostAllowed() string {
	switch own := m.state.Spec.MaxNotServing; {
	case m.cap.Percent == 0:
		return fmt.Sprint(m.limit())
	case own == 0:
		return fmt.Sprintf("%d %%", m.cap.Percent)
	default:
		return fmt.Sprintf("%d, and %d %%,", own, m.cap.Percent)
	}
}
