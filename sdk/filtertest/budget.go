package filtertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// BudgetFile is the name of a filter's budget, beside its source.
const BudgetFile = "budget.yaml"

// Budget says what requests may cost:
//
//	default: {time: 50us, hostCalls: 10, guestBytes: 2KiB, memory: 16MiB, growth: 0B}
//	scenarios:
//	  visitors/Ann is greeted: {hostCalls: 4}
//
// A scenario takes what it does not say from the default. What neither says may be anything.
type Budget struct {
	Path      string // where it was read from
	Default   Limits
	Scenarios map[string]Limits // by Cost.Name
}

// Limits bound a Cost. nil: no bound.
type Limits struct {
	Time       *time.Duration
	HostCalls  *int64
	GuestBytes *int64
	Memory     *int64
	Growth     *int64
}

// LoadBudget reads DIR/budget.yaml. The error wraps fs.ErrNotExist where there is none.
func LoadBudget(dir string) (Budget, error) {
	path := filepath.Join(dir, BudgetFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return Budget{}, fmt.Errorf("budget: %w", err)
	}
	return ParseBudget(path, data)
}

// HasBudget says whether DIR/budget.yaml is there.
func HasBudget(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, BudgetFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// limitsYAML is the form of Limits in a file.
type limitsYAML struct {
	Time       *durationText `yaml:"time"`
	HostCalls  *int64        `yaml:"hostCalls"`
	GuestBytes *sizeText     `yaml:"guestBytes"`
	Memory     *sizeText     `yaml:"memory"`
	Growth     *sizeText     `yaml:"growth"`
}

func (y limitsYAML) limits() Limits {
	return Limits{
		Time: (*time.Duration)(y.Time), HostCalls: y.HostCalls, GuestBytes: (*int64)(y.GuestBytes), Memory: (*int64)(y.Memory),
		Growth: (*int64)(y.Growth),
	}
}

// ParseBudget reads a budget. path is for messages.
func ParseBudget(path string, data []byte) (Budget, error) {
	var y struct {
		Default   limitsYAML            `yaml:"default"`
		Scenarios map[string]limitsYAML `yaml:"scenarios"`
	}
	if len(data) > MaxFileSize {
		return Budget{}, fmt.Errorf("%s: %d bytes, at most %d", path, len(data), MaxFileSize)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&y); err != nil {
		if errors.Is(err, io.EOF) {
			return Budget{}, fmt.Errorf("%s: empty", path)
		}
		return Budget{}, parseError(path, err)
	}
	if n := y.Default.HostCalls; n != nil && *n < 0 {
		return Budget{}, fmt.Errorf("%s: default: hostCalls: %d is no number of calls", path, *n)
	}
	b := Budget{Path: path, Default: y.Default.limits(), Scenarios: map[string]Limits{}}
	for name, limits := range y.Scenarios {
		if n := limits.HostCalls; n != nil && *n < 0 {
			return Budget{}, fmt.Errorf("%s: %s: hostCalls: %d is no number of calls", path, name, *n)
		}
		b.Scenarios[name] = limits.limits()
	}
	return b, nil
}

// Over is one thing that costs more than it may, or a scenario that the budget names and that does not exist.
type Over struct {
	Scenario string `json:"scenario"`
	What     string `json:"what"`
	Limit    string `json:"limit"`
	Cost     string `json:"cost"`
}

// String writes it on one line.
func (o Over) String() string {
	return fmt.Sprintf("%s: %s: at most %s, costs %s", o.Scenario, o.What, o.Limit, o.Cost)
}

// Judge lists what is over the budget.
func (b Budget) Judge(costs []Cost) []Over {
	var over []Over
	for _, c := range costs {
		l := b.Scenarios[c.Name()].or(b.Default)
		check := func(what string, limit *int64, cost int64, show func(int64) string) {
			if limit != nil && cost > *limit {
				over = append(over, Over{c.Name(), what, show(*limit), show(cost)})
			}
		}
		check("time", (*int64)(l.Time), int64(c.Time), func(n int64) string { return time.Duration(n).String() })
		check("hostCalls", l.HostCalls, int64(c.HostCalls), func(n int64) string { return strconv.FormatInt(n, 10) })
		check("guestBytes", l.GuestBytes, int64(c.GuestBytes), showSize)
		check("memory", l.Memory, c.Memory, showSize)
		check("growth", l.Growth, c.Growth, showSize)
	}
	for _, name := range sortedKeys(b.Scenarios) {
		if !slices.ContainsFunc(costs, func(c Cost) bool { return c.Name() == name }) {
			over = append(over, Over{name, "scenario", "one that exists", "there is none of this name; write FILE/SCENARIO"})
		}
	}
	return over
}

// or fills what is not said from other limits.
func (l Limits) or(other Limits) Limits {
	if l.Time == nil {
		l.Time = other.Time
	}
	if l.HostCalls == nil {
		l.HostCalls = other.HostCalls
	}
	if l.GuestBytes == nil {
		l.GuestBytes = other.GuestBytes
	}
	if l.Memory == nil {
		l.Memory = other.Memory
	}
	if l.Growth == nil {
		l.Growth = other.Growth
	}
	return l
}

// durationText is a time such as 50us.
type durationText time.Duration

// UnmarshalYAML reads what time.ParseDuration reads.
func (d *durationText) UnmarshalYAML(n *yaml.Node) error {
	t, err := time.ParseDuration(n.Value)
	if err != nil || t < 0 {
		return fmt.Errorf("line %d: %q is not a time, such as 50us", n.Line, n.Value)
	}
	*d = durationText(t)
	return nil
}

// sizeText is a number of bytes such as 2KiB.
type sizeText int64

var sizeForm = regexp.MustCompile(`^(\d{1,12})(B|KiB|MiB)?$`)

// UnmarshalYAML reads a whole number with B, KiB, MiB, or nothing behind it.
func (s *sizeText) UnmarshalYAML(n *yaml.Node) error {
	m := sizeForm.FindStringSubmatch(n.Value)
	if m == nil {
		return fmt.Errorf("line %d: %q is not a size, such as 512B, 2KiB or 16MiB", n.Line, n.Value)
	}
	v, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return fmt.Errorf("line %d: %q: %w", n.Line, n.Value, err)
	}
	*s = sizeText(v * map[string]int64{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20}[m[2]])
	return nil
}

func showSize(n int64) string {
	switch {
	case n >= 1<<20 && n%(64<<10) == 0:
		return strconv.FormatFloat(float64(n)/(1<<20), 'f', -1, 64) + "MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.FormatInt(n>>10, 10) + "KiB"
	}
	return strconv.FormatInt(n, 10) + "B"
}
