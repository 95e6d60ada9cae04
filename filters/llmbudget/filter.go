package main

import (
	"encoding/binary"
	"errors"
	"strconv"
	"time"

	"github.com/waft-project/waft/filters/internal/keytable"
	"github.com/waft-project/waft/sdk"
)

// details is the answer's response code details.
const details = "llmbudget_exhausted"

var units = map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}

// budget is a compiled Budget.
type budget struct {
	id            uint64
	tokens        int64
	window        time.Duration
	header        string
	count         string
	bytesPerToken float64
	shadow        bool
}

// filter is the configured filter.
type filter struct {
	rules *sdk.Selector[*budget]
	table *keytable.Table

	allowed, denied, failed       sdk.Counter
	prompt, completion, estimates sdk.Counter
}

func configure(p *sdk.Plugin, c *Config) (sdk.Filter, error) {
	f := &filter{}
	var err error
	if f.rules, err = sdk.CompileRules("", &c.Rules, compile); err != nil {
		return nil, err
	}
	if len(f.rules.All()) == 0 {
		return nil, sdk.ConfigErrorf("default", "there is neither a default nor a rule")
	}
	for i, b := range f.rules.All() {
		b.id = uint64(i)
	}
	if f.table, err = keytable.Open(p.SharedData(), "llmbudget", c.Slots); err != nil {
		return nil, err
	}
	var errs [6]error
	f.allowed, errs[0] = p.Counter("llmbudget.allowed")
	f.denied, errs[1] = p.Counter("llmbudget.denied")
	f.failed, errs[2] = p.Counter("llmbudget.failed")
	f.prompt, errs[3] = p.Counter("llmbudget.tokens.prompt")
	f.completion, errs[4] = p.Counter("llmbudget.tokens.completion")
	f.estimates, errs[5] = p.Counter("llmbudget.estimates")
	return f, errors.Join(errs[:]...)
}

func compile(_ string, c *Budget) (*budget, error) {
	return &budget{
		tokens: c.Tokens, window: units[c.Per], header: string(c.Header), count: c.Count, bytesPerToken: c.BytesPerToken, shadow: c.Shadow,
	}, nil
}

// NewHandler makes a handler that counts one stream.
func (f *filter) NewHandler() sdk.Handler { return &handler{filter: f} }

// handler counts one stream. budget is nil where nothing is to be counted.
type handler struct {
	*filter
	budget *budget
	key    []byte
	sent   int64 // bytes of the request's body
	reader reader
	status string
}

// OnRequestHeaders lets the request pass if its key has tokens left. How many it will use nobody knows yet.
func (h *handler) OnRequestHeaders(r *sdk.Request) sdk.Action {
	b, ok := h.rules.For(r)
	if !ok {
		return sdk.Continue
	}
	value, _ := r.Headers().Get(b.header)
	h.key = append(binary.LittleEndian.AppendUint64(nil, b.id), value...)
	now := r.Stream().Now()
	used, err := h.add(b, h.key, now, 0)
	if err != nil {
		h.failed.Inc()
		r.Log().Error("the request's tokens are not counted: " + err.Error())
		return sdk.Continue
	}
	if used >= b.tokens {
		h.denied.Inc()
		if !b.shadow {
			return r.Reply(b.refusal(now))
		}
	} else {
		h.allowed.Inc()
	}
	h.budget = b
	// What is compressed cannot be read.
	if err := r.Headers().Remove("accept-encoding"); err != nil {
		r.Log().Error(err.Error())
	}
	return sdk.Continue
}

// refusal is the answer to a request whose key has no tokens left, in the form of OpenAI's own.
func (b *budget) refusal(now time.Time) sdk.Reply {
	wait := strconv.FormatInt(int64((b.ends(now).Sub(now)+time.Second-1)/time.Second), 10)
	return sdk.Reply{
		Status: 429, Details: details,
		Headers: []sdk.Header{
			{Name: "content-type", Value: "application/json"}, {Name: "retry-after", Value: wait},
			{Name: "x-ratelimit-limit-tokens", Value: strconv.FormatInt(b.tokens, 10)}, {Name: "x-ratelimit-remaining-tokens", Value: "0"},
			{Name: "x-ratelimit-reset-tokens", Value: wait + "s"},
		},
		Body: []byte(`{"error":{"message":"the token budget of this key is used up","type":"tokens","param":null,"code":"rate_limit_exceeded"}}` + "\n"),
	}
}

// ends is when the window ends.
func (b *budget) ends(now time.Time) time.Time { return now.Truncate(b.window).Add(b.window) }

// add adds tokens to what a key has used in this window, and gives the sum. Nothing is written for none.
func (f *filter) add(b *budget, key []byte, now time.Time, tokens int64) (used int64, err error) {
	ends := b.ends(now).UnixNano()
	_, err = f.table.Update(key, now.UnixNano(), func(s *keytable.Slot) bool {
		if s.Until != ends {
			*s = keytable.Slot{Until: ends}
		}
		s.Value += tokens
		used = s.Value
		return tokens > 0
	})
	return used, err
}

// OnRequestBody counts bytes, for an estimate.
func (h *handler) OnRequestBody(_ *sdk.Request, chunk *sdk.Body) sdk.Action {
	h.sent += int64(chunk.Len())
	return sdk.Continue
}

// OnResponseHeaders learns how the response is to be read.
func (h *handler) OnResponseHeaders(r *sdk.Response) sdk.Action {
	if h.budget != nil {
		contentType, _ := r.Headers().Get("content-type")
		encoding, _ := r.Headers().Get("content-encoding")
		h.status, _ = r.Headers().Get(":status")
		h.reader.kind = kindOf(contentType, encoding)
	}
	return sdk.Continue
}

// OnResponseBody reads a chunk that passes.
func (h *handler) OnResponseBody(r *sdk.Response, chunk *sdk.Body) sdk.Action {
	if h.budget != nil {
		data, err := chunk.Bytes()
		if err != nil {
			r.Log().Error(err.Error())
		}
		h.reader.write(data)
	}
	return sdk.Continue
}

// OnStreamDone counts the tokens of a response, a whole one or what there was of it.
func (h *handler) OnStreamDone(s *sdk.Stream) {
	if h.budget == nil || h.status == "" {
		return // nothing was asked for, or nothing came back
	}
	tokens, estimated := h.reader.result(h.sent, h.budget.bytesPerToken)
	if estimated {
		if h.status[0] != '2' {
			return // services do not count what they refuse
		}
		h.estimates.Inc()
	}
	h.prompt.Add(uint64(tokens.prompt))
	h.completion.Add(uint64(tokens.completion))
	if _, err := h.add(h.budget, h.key, s.Now(), h.budget.counts(tokens)); err != nil {
		h.failed.Inc()
		s.Log().Error("the response's tokens are not counted: " + err.Error())
	}
}

// counts is which of the tokens the budget is about.
func (b *budget) counts(u usage) int64 {
	switch b.count {
	case "prompt":
		return u.prompt
	case "completion":
		return u.completion
	}
	return u.prompt + u.completion
}
