package main

import (
	"bufio"
	"io"
	"strings"

	"github.com/corazawaf/coraza/v3/debuglog"

	"github.com/waft-project/waft/sdk"
)

// maxLine is the longest line, in bytes, that Coraza reads. At a longer one it stops without a word.
const maxLine = bufio.MaxScanTokenSize - 1

// directive is one directive of a user's, which may go over several lines.
type directive struct {
	field string
	line  int // of its beginning, from 1 on
	text  string
}

// directivesOf splits a text as Coraza does: lines are trimmed, empty ones and comments left out, a backslash at the end
// joins a line with the next, and a backtick at the end begins a list that a line with a backtick ends.
func directivesOf(field, text string) ([]directive, error) {
	var out []directive
	var open directive
	listed := false
	for n, line := range strings.Split(text, "\n") {
		if len(line) > maxLine {
			return nil, sdk.ConfigErrorf(field, "line %d: %d bytes, at most %d; end it with a backslash and go on in the next", n+1, len(line), maxLine)
		}
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if open.line == 0 {
			open = directive{field: field, line: n + 1}
		}
		switch {
		case !listed && line[len(line)-1] == '`':
			listed = true
		case listed && line[0] == '`':
			listed = false
		}
		switch rest, joined := strings.CutSuffix(line, `\`); {
		case listed:
			open.text += line + "\n"
		case joined:
			open.text += rest
		default:
			open.text += line
			out = append(out, open)
			open = directive{}
		}
	}
	if open.line != 0 {
		return nil, sdk.ConfigErrorf(field, "line %d: the directive that begins here does not end", open.line)
	}
	return out, nil
}

// checkSyntax finds directives without an end, which Coraza would pass over without a word.
func checkSyntax(c *Config) error {
	_, err := userDirectives(c)
	return err
}

// userDirectives are the directives of the user, in the order in which Coraza reads them.
func userDirectives(c *Config) ([]directive, error) {
	before, err := directivesOf("directivesBefore", c.DirectivesBefore)
	if err != nil {
		return nil, err
	}
	after, err := directivesOf("directivesAfter", c.DirectivesAfter)
	return append(before, after...), err
}

// readLog is the engine's log while it reads its rules: it knows which directive was read last. Coraza does not say in its
// errors which one it refused. Its messages at other times, and all errors, go the way of the embedded logger.
type readLog struct {
	debuglog.Logger
	done bool
	last string
	// times is how often each text was read.
	times map[string]int
}

// newReadLog writes errors to the host's log.
func newReadLog(log sdk.Logger) *readLog {
	errors := debuglog.DefaultWithPrinterFactory(func(io.Writer) debuglog.Printer {
		return func(_ debuglog.Level, message, fields string) { log.Errorf("coraza: %s %s", message, fields) }
	})
	return &readLog{Logger: errors.WithLevel(debuglog.LevelError), times: map[string]int{}}
}

// Debug is where Coraza tells which directive it reads.
func (l *readLog) Debug() debuglog.Event {
	if l.done {
		return l.Logger.Debug()
	}
	return readEvent{Event: debuglog.Noop().Debug(), log: l}
}

// readEvent is one message of Coraza's while it reads.
type readEvent struct {
	debuglog.Event
	log *readLog
}

// Str takes the text of a directive down; the parser alone has a field of that name.
func (e readEvent) Str(key, value string) debuglog.Event {
	if key == "line" {
		e.log.last = value
		e.log.times[value]++
	}
	return e
}

// blame names the directive that was refused with cause, if it is one of the user's.
func (l *readLog) blame(c *Config, cause error) error {
	all, err := userDirectives(c)
	if err != nil {
		return err
	}
	// The same text may stand in several places: the one refused is as far along as it was read often.
	times := l.times[l.last]
	for _, d := range all {
		if d.text != l.last {
			continue
		}
		if times--; times == 0 {
			return sdk.ConfigErrorf(d.field, "line %d: %v", d.line, cause)
		}
	}
	return cause
}
