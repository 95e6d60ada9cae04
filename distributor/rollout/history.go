package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/waft-project/waft/distributor/model"
)

// enter goes to a phase, with its line in the history.
func (m *machine) enter(phase model.RolloutPhase, actor, format string, args ...any) {
	if phase.Ended() {
		m.tellJoined()
	}
	if phase != model.RolloutPaused && phase != model.RolloutSoaking {
		m.state.Latest = nil // it is of another wave, or of none
	}
	m.state.Phase, m.state.Waits = phase, model.WaitsForNothing
	m.state.Message = fmt.Sprintf(format, args...)
	if phase != model.RolloutPaused {
		m.state.Resume, m.state.PausedAt, m.state.Inconclusive = "", time.Time{}, false
	}
	if phase.Ended() {
		m.state.EndedAt = m.now
	}
	m.record(actor, m.state.Message)
}

// note adds a line to the history without a change of phase.
func (m *machine) note(format string, args ...any) {
	m.record(Actor, fmt.Sprintf(format, args...))
}

func (m *machine) record(actor, message string) {
	m.state.History = append(m.state.History, model.Transition{At: m.now, Phase: m.state.Phase, Wave: m.state.Wave, Message: message, Actor: actor})
}

// read keeps a reading of a gate with the current wave.
func (m *machine) read(gate string, verdict model.GateVerdict, detail string) {
	w := m.wave()
	w.Readings = append(w.Readings, model.GateReading{Gate: gate, Verdict: verdict, Detail: detail, At: m.now})
}

// waveName is how people count: from 1.
func (m *machine) waveName() string {
	return fmt.Sprintf("wave %d of %d", m.state.Wave+1, len(m.state.Spec.Waves))
}

func because(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + reason
}

// union is a and those of b that are not in it.
func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}

// maxNamed is how many nodes a message names.
const maxNamed = 5

// list joins the first few of many.
func list(items []string) string {
	if len(items) <= maxNamed {
		return strings.Join(items, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(items[:maxNamed], ", "), len(items)-maxNamed)
}

// clip is the beginning of a text, of so many bytes at most, and says that there was more. It keeps no more of it in memory.
func clip(text string, limit int) string {
	const more = "…"
	if len(text) <= limit {
		return text
	}
	end := limit - len(more)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + more
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// short is a hash as people read it.
func short(hash string) string {
	const digits = 12
	hex := strings.TrimPrefix(hash, "sha256:")
	if len(hex) > digits {
		hex = hex[:digits]
	}
	return hex
}
