package model

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits of a selector.
const (
	// MaxSelectorLength is in bytes.
	MaxSelectorLength = 4096
	// MaxRequirements is how many comma-separated requirements it may have.
	MaxRequirements = 64
)

// operator is how a requirement compares. The words are Kubernetes'.
type operator string

const (
	opExists    operator = "exists"
	opNotExists operator = "!"
	opIn        operator = "in"
	opNotIn     operator = "notin"
	opEquals    operator = "="
	opNotEquals operator = "!="
	opGreater   operator = ">"
	opLess      operator = "<"
)

// requirement is one comma-separated part. Values are sorted, without duplicates; one for =, !=, > and <.
type requirement struct {
	key    string
	op     operator
	values []string
}

// Selector is a parsed label selector: requirements that labels must all fulfil. The zero value selects everything. It is
// immutable.
type Selector struct {
	requirements []requirement
}

// ParseSelector reads Kubernetes' label-selector syntax:
//
//	env=prod, env==prod, env!=prod, zone in (a,b), zone notin (a,b), canary, !canary, cores>4, cores<8
//
// separated by commas, which mean "and". != and notin hold where the label is missing; > and < compare integers. An empty
// text selects everything. Errors are of kind ErrInvalid, with the position.
func ParseSelector(text string) (Selector, error) {
	if len(text) > MaxSelectorLength {
		return Selector{}, Invalidf("", "", "shorten it", "the selector has %d bytes, more than %d", len(text), MaxSelectorLength)
	}
	p := selectorParser{lexer: selectorLexer{in: text}}
	requirements, err := p.parse()
	if err != nil {
		return Selector{}, err
	}
	return Selector{requirements: requirements}, nil
}

// Matches says whether labels fulfil every requirement.
func (s Selector) Matches(labels map[string]string) bool {
	for _, r := range s.requirements {
		if !r.matches(labels) {
			return false
		}
	}
	return true
}

// Empty says whether the selector selects everything.
func (s Selector) Empty() bool { return len(s.requirements) == 0 }

// String is the selector in a normal form that ParseSelector reads back to the same selector. Requirements stay in order.
func (s Selector) String() string {
	parts := make([]string, 0, len(s.requirements))
	for _, r := range s.requirements {
		parts = append(parts, r.String())
	}
	return strings.Join(parts, ",")
}

func (r requirement) String() string {
	switch r.op {
	case opExists:
		return r.key
	case opNotExists:
		return "!" + r.key
	case opIn, opNotIn:
		return r.key + " " + string(r.op) + " (" + strings.Join(r.values, ",") + ")"
	default:
		return r.key + string(r.op) + r.values[0]
	}
}

func (r requirement) matches(labels map[string]string) bool {
	value, has := labels[r.key]
	switch r.op {
	case opExists:
		return has
	case opNotExists:
		return !has
	case opIn, opEquals:
		return has && slices.Contains(r.values, value)
	case opNotIn, opNotEquals:
		return !has || !slices.Contains(r.values, value)
	default:
		return has && r.compares(value)
	}
}

func (r requirement) compares(value string) bool {
	got, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return false
	}
	want, err := strconv.ParseInt(r.values[0], 10, 64)
	if err != nil {
		return false
	}
	if r.op == opGreater {
		return got > want
	}
	return got < want
}

// selectorParser is a recursive-descent parser over the tokens, with one token of lookahead.
type selectorParser struct {
	lexer selectorLexer
	token selectorToken
}

func (p *selectorParser) fail(want string) error {
	return Invalidf("", "", "see `waft rollout start --help` for the syntax", "the selector %q, at byte %d: %s, not %s", shorten(p.lexer.in), p.token.at, want, p.token.describe())
}

func (p *selectorParser) next() { p.token = p.lexer.next() }

func (p *selectorParser) parse() ([]requirement, error) {
	p.next()
	if p.token.kind == tokenEnd {
		return nil, nil
	}
	var requirements []requirement
	for {
		r, err := p.requirement()
		if err != nil {
			return nil, err
		}
		requirements = append(requirements, r)
		if len(requirements) > MaxRequirements {
			return nil, Invalidf("", "", "shorten it", "the selector has more than %d requirements", MaxRequirements)
		}
		if p.token.kind == tokenEnd {
			return requirements, nil
		}
		if p.token.text != "," {
			return nil, p.fail("expected a comma or the end")
		}
		p.next()
	}
}

func (p *selectorParser) requirement() (requirement, error) {
	if p.token.text == "!" {
		p.next()
		key, err := p.key()
		return requirement{key: key, op: opNotExists}, err
	}
	key, err := p.key()
	if err != nil {
		return requirement{}, err
	}
	switch p.token.text {
	case "=", "==":
		return p.single(key, opEquals)
	case "!=":
		return p.single(key, opNotEquals)
	case ">":
		return p.integer(key, opGreater)
	case "<":
		return p.integer(key, opLess)
	case "in":
		return p.set(key, opIn)
	case "notin":
		return p.set(key, opNotIn)
	default:
		return requirement{key: key, op: opExists}, nil
	}
}

func (p *selectorParser) key() (string, error) {
	if p.token.kind != tokenWord {
		return "", p.fail("expected a label's key")
	}
	if reason := labelKeyProblem(p.token.text); reason != "" {
		return "", p.fail("expected a label's key (" + reason + ")")
	}
	key := p.token.text
	p.next()
	return key, nil
}

// value takes a word that is a label's value, or nothing, which is the empty value.
func (p *selectorParser) value() (string, error) {
	if p.token.kind != tokenWord {
		return "", nil
	}
	if reason := labelValueProblem(p.token.text); reason != "" {
		return "", p.fail("expected a label's value (" + reason + ")")
	}
	value := p.token.text
	p.next()
	return value, nil
}

func (p *selectorParser) single(key string, op operator) (requirement, error) {
	p.next()
	value, err := p.value()
	return requirement{key: key, op: op, values: []string{value}}, err
}

func (p *selectorParser) integer(key string, op operator) (requirement, error) {
	p.next()
	n, err := strconv.ParseInt(p.token.text, 10, 64)
	if p.token.kind != tokenWord || err != nil {
		return requirement{}, p.fail("expected an integer")
	}
	p.next()
	return requirement{key: key, op: op, values: []string{strconv.FormatInt(n, 10)}}, nil
}

func (p *selectorParser) set(key string, op operator) (requirement, error) {
	p.next()
	if p.token.text != "(" {
		return requirement{}, p.fail("expected (")
	}
	var values []string
	for {
		p.next()
		value, err := p.value()
		if err != nil {
			return requirement{}, err
		}
		values = append(values, value)
		if p.token.text == ")" {
			break
		}
		if p.token.text != "," {
			return requirement{}, p.fail("expected a comma or )")
		}
	}
	p.next()
	slices.Sort(values)
	return requirement{key: key, op: op, values: slices.Compact(values)}, nil
}

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenSymbol
)

type selectorToken struct {
	kind tokenKind
	text string
	at   int
}

func (t selectorToken) describe() string {
	if t.kind == tokenEnd {
		return "the end"
	}
	return fmt.Sprintf("%q", shorten(t.text))
}

// selectorLexer cuts a selector into words and the symbols ( ) , ! = == != < >.
type selectorLexer struct {
	in  string
	pos int
}

func (l *selectorLexer) next() selectorToken {
	for l.pos < len(l.in) && strings.IndexByte(" \t\r\n", l.in[l.pos]) >= 0 {
		l.pos++
	}
	start := l.pos
	if start == len(l.in) {
		return selectorToken{kind: tokenEnd, at: start}
	}
	for _, symbol := range [...]string{"==", "!=", "=", "!", "(", ")", ",", "<", ">"} {
		if strings.HasPrefix(l.in[start:], symbol) {
			l.pos += len(symbol)
			return selectorToken{kind: tokenSymbol, text: symbol, at: start}
		}
	}
	for l.pos < len(l.in) && strings.IndexByte(" \t\r\n=!(),<>", l.in[l.pos]) < 0 {
		l.pos++
	}
	return selectorToken{kind: tokenWord, text: l.in[start:l.pos], at: start}
}
