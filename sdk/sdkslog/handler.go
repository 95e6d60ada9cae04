package sdkslog

import (
	"bytes"
	"context"
	"log/slog"

	"github.com/waft-project/waft/sdk"
)

// New is the log as a [slog.Logger]. Attributes follow the message as key=value. Levels below [slog.LevelDebug] are trace,
// and those from LevelError+4 on are critical.
func New(l sdk.Logger) *slog.Logger { return slog.New(newHandler(l)) }

// handler formats records with the text handler of slog, which writes to line. The callbacks of a VM come one at a time,
// so one line is enough.
type handler struct {
	log  sdk.Logger
	text slog.Handler
	line *bytes.Buffer
}

func newHandler(l sdk.Logger) *handler {
	line := new(bytes.Buffer)
	text := slog.NewTextHandler(line, &slog.HandlerOptions{Level: slog.Level(-1 << 30), ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			// The host writes time and level itself, and the message comes first without its key.
			return slog.Attr{}
		}
		return a
	}})
	return &handler{log: l, text: text, line: line}
}

// Enabled implements [slog.Handler].
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return h.log.Enabled(hostLevel(level))
}

// Handle implements [slog.Handler].
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	h.line.Reset()
	h.line.WriteString(r.Message)
	h.line.WriteByte(' ')
	if err := h.text.Handle(ctx, r); err != nil {
		return err
	}
	h.log.Log(hostLevel(r.Level), string(bytes.TrimSpace(h.line.Bytes())))
	return nil
}

// WithAttrs implements [slog.Handler].
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{log: h.log, text: h.text.WithAttrs(attrs), line: h.line}
}

// WithGroup implements [slog.Handler].
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{log: h.log, text: h.text.WithGroup(name), line: h.line}
}

// hostLevel is the host's level for one of slog.
func hostLevel(level slog.Level) sdk.Level {
	switch {
	case level < slog.LevelDebug:
		return sdk.LevelTrace
	case level < slog.LevelInfo:
		return sdk.LevelDebug
	case level < slog.LevelWarn:
		return sdk.LevelInfo
	case level < slog.LevelError:
		return sdk.LevelWarn
	case level < slog.LevelError+4:
		return sdk.LevelError
	}
	return sdk.LevelCritical
}
