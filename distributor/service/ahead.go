package service

import (
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// ahead are the nodes that are to fetch while a rollout, which has just come to another phase or wave, is where it is now. A pause changes nothing of it.
// The drive loop alone calls it.
func (s *Service) ahead(e *entry, after model.Rollout) map[string]struct{} {
	if after.Phase == model.RolloutPaused {
		return e.ahead
	}
	ids, err := rollout.Ahead(after, e.picture.views, &e.picture.memo)
	if err != nil { // a step has parsed the same selectors
		s.log.Error("it is not known who is in the next wave", "rollout", after.Name, "error", err)
	}
	if len(ids) == 0 {
		return nil
	}
	ahead := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		ahead[id] = struct{}{}
	}
	return ahead
}
