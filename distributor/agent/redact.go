package agent

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/waft-project/waft/distributor/model"
)

// Limits of redacting.
const (
	// redactedValues is how many values are looked for; the oldest that were learned go first.
	redactedValues = 4 * model.MaxChainSecrets
	// redactedLeast is how long a value is at least that is looked for, in bytes: shorter ones stand in words and numbers that have nothing to do with them, and a log without those
	// would say nothing any more.
	redactedLeast = 4
	// redactedHead is how many bytes of a longer value are enough to find it by: logs cut what is long, and what has been found is replaced as far as it goes.
	redactedHead = 16
	// redactedLine is how long a line of a value is at least that is looked for by itself, in bytes: logs are written in lines.
	redactedLine = 8
)

// redactor replaces the values of secrets in what leaves the node as words: reasons and log lines. It finds them as they are, by lines, cut off, as base64, and as Go, JSON,
// protobuf's text and URLs write them, and those of each other; see unescape. What a filter makes of a value, such as its hash, it does not know. Its methods may be used
// concurrently; the zero value knows no value.
type redactor struct {
	mu     sync.RWMutex
	values map[string]*learned // by value
	order  []string
	// plain are looked for in a text as it is, loose in what unescape makes of it.
	plain, loose needles
}

// learned is a value: what stands in its place, and what is looked for.
type learned struct {
	with         string
	plain, loose []string
}

// needles are looked for by how they begin.
type needles struct {
	byHead map[string][]needle
	// lengths counts the heads of each length, first those that begin with a byte: most places of a text are none.
	lengths [redactedHead + 1]int
	first   [256]int
}

type needle struct {
	text string
	of   *learned
}

// learn has a value replaced from now on, unless it is shorter than redactedLeast.
func (r *redactor) learn(ref model.SecretRef, value string) { r.learnAs(ref.String(), value) }

func (r *redactor) learnAs(ref, value string) {
	if len(value) < redactedLeast || r.knows(value) {
		return
	}
	l := learnedOf(ref, value) // takes longest, and holds nobody up
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.values[value]; known {
		return
	}
	if r.values == nil {
		r.values = map[string]*learned{}
	}
	if len(r.order) >= redactedValues {
		oldest := r.values[r.order[0]]
		r.plain.remove(oldest, oldest.plain)
		r.loose.remove(oldest, oldest.loose)
		delete(r.values, r.order[0])
		r.order = r.order[1:]
	}
	r.values[value] = l
	r.order = append(r.order, value)
	r.plain.add(l, l.plain)
	r.loose.add(l, l.loose)
}

func (r *redactor) knows(value string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, known := r.values[value]
	return known
}

// learnFrom has the values in chains replaced; nil ones are none.
func (r *redactor) learnFrom(chains ...*chain) {
	for _, c := range chains {
		if c == nil {
			continue
		}
		for _, s := range c.Secrets {
			r.learnAs(s.Ref, s.Value)
		}
	}
}

// learnedOf is what is looked for of a value.
func learnedOf(ref, value string) *learned {
	l := &learned{with: "[secret " + ref + "]", plain: []string{value}}
	if strings.ContainsAny(value, "\r\n") {
		for line := range strings.Lines(value) {
			if line = strings.TrimRight(line, "\r\n"); len(line) >= redactedLine {
				l.plain = append(l.plain, line)
			}
		}
	}
	for _, text := range l.plain {
		for _, written := range []string{text, base64.StdEncoding.EncodeToString([]byte(text)), base64.URLEncoding.EncodeToString([]byte(text))} {
			if written = unescape(written).text; written != "" {
				l.loose = append(l.loose, written)
			}
		}
	}
	for _, texts := range []*[]string{&l.plain, &l.loose} {
		slices.Sort(*texts)
		*texts = slices.Compact(*texts)
	}
	return l
}

func head(text string) string { return text[:min(len(text), redactedHead)] }

func (n *needles) add(l *learned, texts []string) {
	if n.byHead == nil {
		n.byHead = map[string][]needle{}
	}
	for _, text := range texts {
		at := head(text)
		if len(n.byHead[at]) == 0 {
			n.lengths[len(at)]++
			n.first[at[0]]++
		}
		n.byHead[at] = append(n.byHead[at], needle{text, l})
	}
}

func (n *needles) remove(l *learned, texts []string) {
	done := map[string]bool{}
	for _, text := range texts {
		at := head(text)
		if done[at] {
			continue
		}
		done[at] = true
		n.byHead[at] = slices.DeleteFunc(n.byHead[at], func(one needle) bool { return one.of == l })
		if len(n.byHead[at]) == 0 {
			delete(n.byHead, at)
			n.lengths[len(at)]--
			n.first[at[0]]--
		}
	}
}

// found is a part of a text in which a value stands, and what is to stand there.
type found struct {
	from, to int
	with     string
}

// in finds what a text has of the needles, as far as it goes. Parts may overlap.
func (n *needles) in(u unescaped, add func(found)) {
	text := u.text
	for i := range len(text) {
		if n.first[text[i]] == 0 {
			continue
		}
		most, with := 0, ""
		for length, heads := range n.lengths {
			if heads == 0 || i+length > len(text) {
				continue
			}
			for _, one := range n.byHead[text[i:i+length]] {
				if same := alike(one.text, text[i:]); same > most {
					most, with = same, one.of.with
				}
			}
		}
		if most > 0 {
			from, to := u.span(i, i+most)
			add(found{from, to, with})
		}
	}
}

// redact is the text without the values. What stands in their place is not looked at again.
func (r *redactor) redact(text string) string {
	var parts []found
	r.mu.RLock()
	if len(r.values) > 0 {
		add := func(f found) { parts = append(parts, f) }
		r.plain.in(unescaped{text: text}, add)
		r.loose.in(unescape(text), add)
	}
	r.mu.RUnlock()
	if len(parts) == 0 {
		return text
	}
	slices.SortStableFunc(parts, func(a, b found) int { return cmp.Or(a.from-b.from, b.to-a.to) })
	var b strings.Builder
	done := 0
	for i := 0; i < len(parts); {
		whole := parts[i]
		longest := whole
		for i++; i < len(parts) && parts[i].from < whole.to; i++ {
			whole.to = max(whole.to, parts[i].to)
			if next := parts[i]; next.to-next.from > longest.to-longest.from {
				longest = next
			}
		}
		b.WriteString(text[done:whole.from])
		b.WriteString(longest.with)
		done = whole.to
	}
	b.WriteString(text[done:])
	return b.String()
}

// alike is how many bytes two texts begin with that are the same.
func alike(a, b string) int {
	const block = 256 // compared at once
	end, n := min(len(a), len(b)), 0
	for n+block <= end && a[n:n+block] == b[n:n+block] {
		n += block
	}
	for n < end && a[n] == b[n] {
		n++
	}
	return n
}

// handler is a log's handler that says no values.
func (r *redactor) handler(to slog.Handler) slog.Handler { return redacting{r, to} }

type redacting struct {
	redactor *redactor
	to       slog.Handler
}

func (h redacting) Enabled(ctx context.Context, level slog.Level) bool {
	return h.to.Enabled(ctx, level)
}

func (h redacting) Handle(ctx context.Context, record slog.Record) error {
	clean := slog.NewRecord(record.Time, record.Level, h.redactor.redact(record.Message), record.PC)
	record.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.to.Handle(ctx, clean)
}

func (h redacting) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, 0, len(attrs))
	for _, a := range attrs {
		clean = append(clean, h.attr(a))
	}
	return redacting{h.redactor, h.to.WithAttrs(clean)}
}

func (h redacting) WithGroup(name string) slog.Handler {
	return redacting{h.redactor, h.to.WithGroup(name)}
}

func (h redacting) attr(a slog.Attr) slog.Attr {
	switch value := a.Value.Resolve(); value.Kind() {
	case slog.KindString:
		return slog.String(a.Key, h.redactor.redact(value.String()))
	case slog.KindGroup:
		clean := make([]any, 0, len(value.Group()))
		for _, inner := range value.Group() {
			clean = append(clean, h.attr(inner))
		}
		return slog.Group(a.Key, clean...)
	case slog.KindAny:
		said := fmt.Sprint(value.Any())
		if clean := h.redactor.redact(said); clean != said {
			return slog.String(a.Key, clean)
		}
	}
	return a
}
