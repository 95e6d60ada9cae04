package sdk

import (
	"bytes"
	"context"
	"log/slog"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// Slog is the log as a [slog.Logger], for libraries that want one. Attributes follow the message as key=value. Levels below
// [slog.LevelDebug] are trace, and those from LevelError+4 on are critical.
func (l Logger) Slog() *slog.Logger { return slog.New(newSlogHandler(l)) }

// slogHandler formats records with the text handler of slog, which writes to line. The callbacks of a VM come one at a time,
// so one line is enough.
type slogHandler struct {
	log  Logger
	text slog.Handler
	line *bytes.Buffer
}

func newSlogHandler(l Logger) *slogHandler {
	line := new(bytes.Buffer)
	text := slog.NewTextHandler(line, &slog.HandlerOptions{Level: slog.Level(-1 << 30), ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			// The host writes time and level itself, and the message comes first without its key.
			return slog.Attr{}
		}
		return a
	}})
	return &slogHandler{log: l, text: text, line: line}
}

// Enabled implements [slog.Handler].
func (h *slogHandler) Enabled(_ context.Context, level slog.Level) bool {
	return h.log.enabled(hostLevel(level))
}

// Handle implements [slog.Handler].
func (h *slogHandler) Handle(ctx context.Context, r slog.Record) error {
	h.line.Reset()
	h.line.WriteString(r.Message)
	h.line.WriteByte(' ')
	if err := h.text.Handle(ctx, r); err != nil {
		return err
	}
	status := h.log.host.Log(hostLevel(r.Level), string(bytes.TrimSpace(h.line.Bytes())))
	return hostError(status, "log", "")
}

// WithAttrs implements [slog.Handler].
func (h *slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &slogHandler{log: h.log, text: h.text.WithAttrs(attrs), line: h.line}
}

// WithGroup implements [slog.Handler].
func (h *slogHandler) WithGroup(name string) slog.Handler {
	return &slogHandler{log: h.log, text: h.text.WithGroup(name), line: h.line}
}

// hostLevel is the host's level for one of slog.
func hostLevel(level slog.Level) abi.LogLevel {
	switch {
	case level < slog.LevelDebug:
		return abi.LogTrace
	case level < slog.LevelInfo:
		return abi.LogDebug
	case level < slog.LevelWarn:
		return abi.LogInfo
	case level < slog.LevelError:
		return abi.LogWarn
	case level < slog.LevelError+4:
		return abi.LogError
	}
	return abi.LogCritical
}
