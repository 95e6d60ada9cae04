package agent

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/waft-project/waft/distributor/model"
)

// Limits of redacting.
const (
	// redactedValues is how many values are looked for; the oldest that were learned go first.
	redactedValues = 4 * model.MaxChainSecrets
	// redactedHead is how many bytes of a longer value are enough to find it by: logs cut what is long, and what has been found is replaced as far as it goes.
	redactedHead = 16
	// redactedLine is how long a line of a value is at least that is looked for by itself, in bytes: logs are written in lines.
	redactedLine = 8
)

// redactor replaces the values of secrets in what leaves the node as words: reasons and log lines. It finds them as they are, by lines, cut off, and as Go, JSON,
// protobuf's text, base64 and URLs write them. What a filter makes of a value, such as its hash, it does not know. Its methods may be used concurrently; the zero value knows
// no value.
type redactor struct {
	mu     sync.Mutex
	values map[string]string // value → what stands in its place
	order  []string
	// forms are made of values, the longest heads first; nil while there are none.
	forms atomic.Pointer[[]forms]
}

// forms are ways in which values may stand in a text that begin alike, and what stands in their place then.
type forms struct {
	head, with string
	texts      []string
}

// learn has a value replaced from now on.
func (r *redactor) learn(ref model.SecretRef, value string) { r.learnAs(ref.String(), value) }

func (r *redactor) learnAs(ref, value string) {
	if value == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.values[value]; known {
		return
	}
	if r.values == nil {
		r.values = map[string]string{}
	}
	if len(r.order) >= redactedValues {
		delete(r.values, r.order[0])
		r.order = r.order[1:]
	}
	r.values[value] = "[secret " + ref + "]"
	r.order = append(r.order, value)
	all := formsOf(r.values)
	r.forms.Store(&all)
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

// redact is the text without the values.
func (r *redactor) redact(text string) string {
	if all := r.forms.Load(); all != nil {
		for _, f := range *all {
			text = f.cutOut(text)
		}
	}
	return text
}

// cutOut replaces what the text has of the forms, as much as any of them has in common with it.
func (f forms) cutOut(text string) string {
	at := strings.Index(text, f.head)
	if at < 0 {
		return text
	}
	var b strings.Builder
	for ; at >= 0; at = strings.Index(text, f.head) {
		b.WriteString(text[:at])
		b.WriteString(f.with)
		text = text[at:]
		end := 0
		for _, one := range f.texts {
			end = max(end, alike(one, text))
		}
		text = text[end:]
	}
	b.WriteString(text)
	return b.String()
}

// alike is how many bytes two texts begin with that are the same.
func alike(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// formsOf are the forms of all values by what they begin with, the longest first.
func formsOf(values map[string]string) []forms {
	byHead := map[string]forms{}
	for _, value := range sorted(values) {
		for _, text := range textsOf(value) {
			head := text[:min(len(text), redactedHead)]
			f, there := byHead[head]
			if !there {
				f = forms{head: head, with: values[value]}
			}
			if !slices.Contains(f.texts, text) {
				f.texts = append(f.texts, text)
			}
			byHead[head] = f
		}
	}
	all := make([]forms, 0, len(byHead))
	for _, head := range sorted(byHead) {
		all = append(all, byHead[head])
	}
	slices.SortStableFunc(all, func(a, b forms) int { return len(b.head) - len(a.head) })
	return all
}

// textsOf are the ways in which a value may stand in a log.
func textsOf(value string) []string {
	plain := []string{value}
	if strings.ContainsAny(value, "\r\n") {
		for line := range strings.Lines(value) {
			if line = strings.TrimRight(line, "\r\n"); len(line) >= redactedLine {
				plain = append(plain, line)
			}
		}
	}
	var texts []string
	for _, v := range plain {
		texts = append(texts, v, quoted(strconv.Quote(v)), quoted(strconv.QuoteToASCII(v)), textProto(v), url.QueryEscape(v), url.PathEscape(v))
		if text, err := json.Marshal(v); err == nil {
			texts = append(texts, quoted(string(text)))
		}
		texts = append(texts, base64.StdEncoding.EncodeToString([]byte(v)), base64.RawStdEncoding.EncodeToString([]byte(v)),
			base64.URLEncoding.EncodeToString([]byte(v)), base64.RawURLEncoding.EncodeToString([]byte(v)))
	}
	return texts
}

// quoted is what stands between the quotes.
func quoted(text string) string { return text[1 : len(text)-1] }

// textProto is a string as protobuf's text format escapes it.
func textProto(value string) string {
	var b strings.Builder
	for i := range len(value) {
		switch c := value[i]; {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '"' || c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
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
