package filtertest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Limits of a scenario's connection.
const (
	// MaxPiece is the largest piece that an end sends at once, in bytes. Envoy reads it at once too, so that it is one callback of the
	// filter.
	MaxPiece = 16 << 10
	// MaxSteps is the most steps of a connection.
	MaxSteps = 200
	// maxConnectionBytes is how much one end may send, in bytes. Envoy keeps at most 1 MiB for a filter that waits for more.
	maxConnectionBytes = 512 << 10
)

// Party is one of those that can send on a connection, or close it.
type Party string

// The parties.
const (
	PartyClient   Party = "client"
	PartyUpstream Party = "upstream"
	// PartyFilter is Envoy, on behalf of the filter. It never stands in a step.
	PartyFilter Party = "filter"
)

// Closing is how the other side of a connection's end closed it.
type Closing string

// The ways.
const (
	// ClosedEnd: the other side ended the stream of its bytes (FIN).
	ClosedEnd Closing = "end"
	// ClosedReset: the other side broke the connection off (RST).
	ClosedReset Closing = "reset"
	// ClosedNever: nothing of the kind was heard; the end broke off itself, or waits for ever.
	ClosedNever Closing = "never"
)

// StepKind says what happens in a step.
type StepKind string

// The kinds.
const (
	StepSend  StepKind = "send"  // By sends Data
	StepEnd   StepKind = "end"   // By sends no more, and goes on reading
	StepReset StepKind = "reset" // By breaks the connection off
	StepWait  StepKind = "wait"  // the time Wait passes
)

// Step is one thing that happens on a connection. It begins once Envoy has dealt with the one before; behind a StepWait, when that is over.
type Step struct {
	Kind StepKind
	By   Party
	Data string
	Wait time.Duration
}

// String writes the step as it stands in a file.
func (s Step) String() string {
	switch s.Kind {
	case StepSend:
		return fmt.Sprintf("%s: %.60q", s.By, s.Data)
	case StepWait:
		return fmt.Sprintf("wait: %s", s.Wait)
	case StepEnd:
		return fmt.Sprintf("ends: %s", s.By)
	}
	return fmt.Sprintf("resets: %s", s.By)
}

// WantEnd is what an end of a connection must get.
type WantEnd struct {
	Data         *string
	DataContains string
	Closed       Closing // empty: anything
}

// ObservedConnection is a connection as its two ends saw it.
type ObservedConnection struct {
	Upstream *ObservedEnd `json:"upstream,omitempty"` // nil: nothing connected to the upstream
	Client   ObservedEnd  `json:"client"`
	ClosedBy Party        `json:"closed_by"` // who ended its side, or broke the connection off, before all others
}

// ObservedEnd is what one end got. In how many pieces the bytes came is nobody's promise, and not kept.
type ObservedEnd struct {
	Data   string  `json:"data"`
	Closed Closing `json:"closed"`
}

// connectionYAML is a list of steps.
type connectionYAML struct {
	given bool
	line  int
	steps []Step
}

// stepKeys are the keys of a step, of which it has one.
var stepKeys = []string{"client", "upstream", "ends", "resets", "wait"}

// UnmarshalYAML reads the list.
func (c *connectionYAML) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: connection: want a list of steps, such as - client: hello", n.Line)
	}
	c.given, c.line = true, n.Line
	if len(n.Content) > MaxSteps {
		return fmt.Errorf("line %d: connection: %d steps, at most %d", n.Line, len(n.Content), MaxSteps)
	}
	talk := talk{sent: map[Party]int{}, ended: map[Party]bool{}}
	for _, e := range n.Content {
		step, err := readStep(e)
		if err == nil {
			err = talk.take(step)
		}
		if err != nil {
			return fmt.Errorf("line %d: connection: %w", e.Line, err)
		}
		c.steps = append(c.steps, step)
	}
	return nil
}

// readStep reads a mapping with one key.
func readStep(n *yaml.Node) (Step, error) {
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 {
		return Step{}, fmt.Errorf("a step has one key: %s", strings.Join(stepKeys, ", "))
	}
	key, value := n.Content[0].Value, n.Content[1]
	if value.Kind != yaml.ScalarNode {
		return Step{}, fmt.Errorf("%s: want a text", key)
	}
	switch key {
	case "client", "upstream":
		var data string
		if err := value.Decode(&data); err != nil {
			return Step{}, fmt.Errorf("%s: %w", key, err)
		}
		if data == "" || len(data) > MaxPiece {
			return Step{}, fmt.Errorf("%s: %d bytes, from 1 to %d can be sent at once", key, len(data), MaxPiece)
		}
		return Step{Kind: StepSend, By: Party(key), Data: data}, nil
	case "ends", "resets":
		by := Party(value.Value)
		if by != PartyClient && by != PartyUpstream {
			return Step{}, fmt.Errorf("%s: %q is neither %s nor %s", key, value.Value, PartyClient, PartyUpstream)
		}
		if key == "ends" {
			return Step{Kind: StepEnd, By: by}, nil
		}
		return Step{Kind: StepReset, By: by}, nil
	case "wait":
		d, err := parseDuration(value.Value)
		return Step{Kind: StepWait, Wait: d}, err
	}
	return Step{}, fmt.Errorf("step %s is not known; there are %s", key, strings.Join(stepKeys, ", "))
}

// talk is how far a connection has come.
type talk struct {
	sent  map[Party]int // bytes
	ended map[Party]bool
	reset bool
}

// take says whether a step can follow those before it.
func (t *talk) take(s Step) error {
	switch {
	case s.Kind == StepWait:
		return nil
	case t.reset:
		return fmt.Errorf("%s: the connection was broken off before", s)
	case t.ended[s.By] && s.Kind == StepReset:
		return fmt.Errorf("%s: the %s has ended its side before, and Envoy does not notice what becomes of it then", s, s.By)
	case t.ended[s.By]:
		return fmt.Errorf("%s: the %s has ended its side before", s, s.By)
	case s.Kind == StepReset:
		t.reset = true
		return nil
	case s.Kind == StepEnd:
		t.ended[s.By] = true
		return nil
	}
	if t.sent[s.By] += len(s.Data); t.sent[s.By] > maxConnectionBytes {
		return fmt.Errorf("the %s sends more than %d bytes", s.By, maxConnectionBytes)
	}
	return nil
}

// endKeys are the keys of what an end of a connection must get.
var endKeys = []string{"data", "dataContains", "closed"}

// wantEndYAML is the form of a WantEnd in a file.
type wantEndYAML struct {
	Data         *string `yaml:"data"`
	DataContains string  `yaml:"dataContains"`
	Closed       Closing `yaml:"closed"`
}

// UnmarshalYAML reads a mapping.
func (w *wantEndYAML) UnmarshalYAML(n *yaml.Node) error {
	type plain wantEndYAML
	if err := strictDecode(n, (*plain)(w), endKeys...); err != nil {
		return err
	}
	if !slices.Contains([]Closing{"", ClosedEnd, ClosedReset, ClosedNever}, w.Closed) {
		return fmt.Errorf("line %d: closed: %q is none of %s, %s and %s", n.Line, w.Closed, ClosedEnd, ClosedReset, ClosedNever)
	}
	return nil
}

func (w *wantEndYAML) want() *WantEnd {
	if w == nil {
		return nil
	}
	return &WantEnd{Data: w.Data, DataContains: w.DataContains, Closed: w.Closed}
}

// connection completes a scenario that is a connection.
func (y scenarioYAML) connection(s *Scenario) error {
	w := y.Want
	switch {
	case y.Request != nil:
		return errors.New("request and connection: give one of them")
	case y.Upstream != nil:
		return errors.New("upstream: answers requests; what the upstream of a connection sends stands in its steps")
	case w.Response.none || w.Response.want != nil:
		return errors.New("want.response: is of a request; what the client of a connection gets is want.client")
	case w.Upstream.want != nil && w.Upstream.keys > 0:
		return fmt.Errorf("line %d: want.upstream: of a connection there are %s", w.Upstream.line, strings.Join(endKeys, ", "))
	}
	s.Connection = append([]Step{}, y.Connection.steps...)
	s.Want.Client, s.Want.UpstreamEnd, s.Want.ClosedBy = w.Client.want(), w.Upstream.end.want(), w.ClosedBy
	if w.Upstream.want != nil {
		s.Want.UpstreamEnd = &WantEnd{} // a connection, of any kind
	}
	if !slices.Contains([]Party{"", PartyClient, PartyUpstream, PartyFilter}, w.ClosedBy) {
		return fmt.Errorf("want.closedBy: %q is none of %s, %s and %s", w.ClosedBy, PartyClient, PartyUpstream, PartyFilter)
	}
	return nil
}

// judgeConnection compares a connection with what a scenario wants.
func judgeConnection(w Want, c ObservedConnection, add func(what, want, got string)) {
	switch {
	case w.NoUpstream && c.Upstream != nil:
		add("upstream", "none", fmt.Sprintf("a connection, and %q", c.Upstream.Data))
	case w.UpstreamEnd != nil && c.Upstream == nil:
		add("upstream", "a connection", fmt.Sprintf("none; the client got %q, closed: %s", c.Client.Data, c.Client.Closed))
	case w.UpstreamEnd != nil:
		judgeEnd("upstream", *w.UpstreamEnd, *c.Upstream, add)
	}
	if w.Client != nil {
		judgeEnd("client", *w.Client, c.Client, add)
	}
	judgeText("closedBy", string(w.ClosedBy), string(c.ClosedBy), add)
}

func judgeEnd(what string, w WantEnd, got ObservedEnd, add func(what, want, got string)) {
	judgeBody(what+".data", w.Data, got.Data, add)
	if !strings.Contains(got.Data, w.DataContains) {
		add(what+".dataContains", fmt.Sprintf("%q", w.DataContains), fmt.Sprintf("%q", got.Data))
	}
	judgeText(what+".closed", string(w.Closed), string(got.Closed), add)
}

// compareConnection compares a connection in two backends.
func compareConnection(a, b ObservedConnection, add func(what, x, y string)) {
	add("upstream", presence(a.Upstream != nil), presence(b.Upstream != nil))
	if x, y := a.Upstream, b.Upstream; x != nil && y != nil {
		compareEnd("upstream", *x, *y, add)
	}
	compareEnd("client", a.Client, b.Client, add)
	add("closedBy", string(a.ClosedBy), string(b.ClosedBy))
}

func compareEnd(what string, a, b ObservedEnd, add func(what, x, y string)) {
	add(what+".data", fmt.Sprintf("%q", a.Data), fmt.Sprintf("%q", b.Data))
	add(what+".closed", string(a.Closed), string(b.Closed))
}
