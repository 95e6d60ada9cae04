package service

import (
	"context"
	"fmt"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// freezeObject is what the audit log calls what is frozen: all rollouts there are.
const freezeObject = "rollouts"

// StartFreeze freezes all rollouts now, for so long, or until EndFreeze where that is zero: no wave begins and no node is moved on, as in a freeze window. It takes the place of
// a freeze that there is, and is kept over a restart. It needs a reason.
func (s *Service) StartFreeze(ctx context.Context, actor Actor, lasts time.Duration) (model.Freeze, error) {
	if err := s.mayFreeze(ctx, actor, VerbStartFreeze); err != nil {
		return model.Freeze{}, err
	}
	if actor.Reason == "" {
		return model.Freeze{}, model.Invalidf(freezeObject, "reason", "say why, for those whose rollouts wait", "is empty")
	}
	if lasts < 0 {
		return model.Freeze{}, model.Invalidf(freezeObject, "for", "give a duration such as 2h, or leave it out", "%s is less than nothing", lasts)
	}
	freeze := model.Freeze{Actor: actor.Name, Reason: actor.Reason, Since: s.stamp()}
	detail := "until somebody ends it"
	if lasts > 0 {
		freeze.Until = freeze.Since.Add(lasts)
		detail = "until " + freeze.Until.Format(time.RFC3339)
	}
	return freeze, s.putFreeze(ctx, actor, VerbStartFreeze, &freeze, detail)
}

// EndFreeze lets rollouts go on, but for those that a window freezes. It changes nothing where nobody has frozen them.
func (s *Service) EndFreeze(ctx context.Context, actor Actor) error {
	if err := s.mayFreeze(ctx, actor, VerbEndFreeze); err != nil {
		return err
	}
	was, err := s.GetFreeze(ctx)
	if err != nil || was == nil {
		return err
	}
	return s.putFreeze(ctx, actor, VerbEndFreeze, nil, fmt.Sprintf("was frozen by %s since %s: %s", was.Actor, was.Since.Format(time.RFC3339), was.Reason))
}

// GetFreeze is the freeze that holds now; nil for none.
func (s *Service) GetFreeze(context.Context) (*model.Freeze, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return nil, err
	}
	if !s.frozenNow.Holds(s.now()) {
		return nil, nil
	}
	return s.frozenNow, nil
}

func (s *Service) mayFreeze(ctx context.Context, actor Actor, verb Verb) error {
	if err := s.Ready(); err != nil {
		return err
	}
	if err := actor.check(freezeObject); err != nil {
		return err
	}
	// It is about the rollouts of all layers.
	return s.may(ctx, Act{Verb: verb, Object: freezeObject, Layer: model.LayerGlobal})
}

// putFreeze stores it between two decisions, so that none is taken after the answer that does not know of it.
func (s *Service) putFreeze(ctx context.Context, actor Actor, verb Verb, freeze *model.Freeze, detail string) error {
	return s.inDrive(ctx, freezeObject, func(run context.Context) error {
		writeCtx, cancel := context.WithTimeout(run, writeTimeout)
		defer cancel()
		entry := model.AuditEntry{At: s.stamp(), Actor: actor.Name, Action: string(verb), Object: freezeObject, Reason: actor.Reason, Detail: detail}
		if err := s.store.PutFreeze(writeCtx, freeze, entry); err != nil {
			// It may have been written all the same: what the store has counts, as far as it says.
			if stored, readErr := s.store.GetFreeze(writeCtx); readErr == nil {
				s.mu.Lock()
				s.frozenNow = stored
				s.mu.Unlock()
			}
			return err
		}
		s.mu.Lock()
		s.frozenNow = freeze
		s.mu.Unlock()
		s.log.Warn("rollouts", "action", string(verb), "actor", actor.Name, "reason", actor.Reason)
		s.drive.wake(0)
		return nil
	})
}
