package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// GateSubject is what a gate that is read elsewhere is asked about.
type GateSubject struct {
	Rollout string          `json:"rollout"`
	Release model.ReleaseID `json:"release"`
	// Wave is counted from 1.
	Wave int `json:"wave"`
	// Moved and Waiting are nodes of the rollout, by id: those that were moved, and those of the target that were not.
	Moved   []string `json:"moved"`
	Waiting []string `json:"waiting"`
	// Served is for how long all nodes of the wave have served the release; zero while one does not yet. What is older is of the release before.
	Served time.Duration `json:"served"`
}

// gateTimeout bounds one question.
const gateTimeout = 10 * time.Second

// lastAsk is the least time between two questions.
const lastAsk = time.Second

// Two answers may take as long as they may, and be asked for, before a rollout pauses for want of them: this does not compile where they may not.
const _ = uint(rollout.AnswerGrace - 2*(gateTimeout+lastAsk))

// gateKey is a gate of a rollout: its wave and its place there.
type gateKey struct{ wave, gate int }

// asked is what is known of a gate that is read elsewhere. Service.mu guards it.
type asked struct {
	underway bool
	// begun is when it was last asked, by the process's own clock.
	begun   time.Time
	reading model.GateReading
	known   bool
}

// ask has the gates of a rollout's wave read that are due. It does not wait for the answers: each wakes the drive loop. The drive loop alone
// calls it.
func (s *Service) ask(ctx context.Context, e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wave, watched := watchedWave(e.state)
	if !watched || rollout.ServedSince(e.state).IsZero() {
		return
	}
	for i, gate := range e.state.Spec.Waves[wave].Gates {
		if !gate.Elsewhere() {
			continue
		}
		a := e.asked[gateKey{wave, i}]
		if a == nil {
			a = &asked{}
			if e.asked == nil {
				e.asked = map[gateKey]*asked{}
			}
			e.asked[gateKey{wave, i}] = a
		}
		due := gate.Every()
		now, over := s.stamp(), e.state.Waves[wave].SoakUntil
		if e.state.Phase == model.RolloutSoaking && !now.Before(over) && a.reading.At.Before(over) {
			due = min(due, lastAsk) // the answer that decides is one from after the soak
		}
		if a.reading.At.After(now) {
			due = min(due, lastAsk) // it does not count: the clock went back
		}
		if a.underway || time.Since(a.begun) < due {
			continue
		}
		a.underway, a.begun = true, time.Now()
		at := s.stamp()
		about := s.subject(e, wave, at)
		s.asking.Go(func() {
			gateCtx, cancel := context.WithTimeout(ctx, gateTimeout)
			defer cancel()
			verdict, detail := s.gates.Read(gateCtx, gate, about)
			if ctx.Err() != nil {
				return
			}
			s.mu.Lock()
			a.underway, a.known, a.reading = false, true, model.GateReading{Verdict: verdict, Detail: clip(detail, maxGateDetail), At: at}
			s.mu.Unlock()
			s.drive.wake(0)
		})
	}
}

// maxGateDetail is how many bytes of an answer's words are kept.
const maxGateDetail = 1024

// watchedWave is the wave whose gates are read: one whose nodes have begun to move, or soak; paused, too.
func watchedWave(r model.Rollout) (int, bool) {
	phase := r.Stage()
	if phase != model.RolloutMoving && phase != model.RolloutSoaking || r.Wave < 0 || r.Wave >= len(r.Waves) {
		return 0, false
	}
	return r.Wave, !r.Waves[r.Wave].MovedAt.IsZero()
}

// subject is what a gate is asked about at a moment; mu is held.
func (s *Service) subject(e *entry, wave int, at time.Time) GateSubject {
	about := GateSubject{Rollout: e.state.Name, Release: e.state.Spec.Release, Wave: wave + 1, Moved: []string{}, Waiting: []string{}}
	if since := rollout.AllServeSince(e.state); !since.IsZero() {
		about.Served = max(at.Sub(since), 0) // a clock may have gone back
	}
	for _, id := range slices.Sorted(maps.Keys(e.state.Nodes)) {
		if !e.state.Nodes[id].MovedAt.IsZero() {
			about.Moved = append(about.Moved, id)
		}
	}
	for _, n := range s.membersOf(e) {
		if e.state.Nodes[n.row.ID].MovedAt.IsZero() {
			about.Waiting = append(about.Waiting, n.row.ID)
		}
	}
	return about
}

// readings are the latest of the current wave's gates that are read elsewhere; mu is held.
func (e *entry) readings() map[int]model.GateReading {
	var out map[int]model.GateReading
	for key, a := range e.asked {
		if key.wave != e.state.Wave || !a.known {
			continue
		}
		if out == nil {
			out = map[int]model.GateReading{}
		}
		out[key.gate] = a.reading
	}
	return out
}

// checkGates says which gate of some waves cannot be asked.
func (s *Service) checkGates(object string, waves []model.WaveSpec) error {
	for i, w := range waves {
		for j, gate := range w.Gates {
			if !gate.Elsewhere() {
				continue
			}
			if err := s.gates.Check(gate); err != nil {
				return model.Invalidf(object, fmt.Sprintf("spec.waves[%d].gates[%d].%s", i, j, gate.Name()),
					"give the host that it asks to waft serve --gate-host, or leave the gate out", "%v", err)
			}
		}
	}
	return nil
}

// noGates is what a distributor that asks nobody says.
type noGates struct{}

func (noGates) Check(model.GateSpec) error {
	return errNoGates
}

func (noGates) Read(context.Context, model.GateSpec, GateSubject) (model.GateVerdict, string) {
	return model.VerdictInconclusive, errNoGates.Error()
}

var errNoGates = errors.New("this distributor asks nobody")
