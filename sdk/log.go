package sdk

import (
	"fmt"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// Level is the severity of a log line.
type Level = abi.LogLevel

// The levels, lowest first.
const (
	LevelTrace    = abi.LogTrace
	LevelDebug    = abi.LogDebug
	LevelInfo     = abi.LogInfo
	LevelWarn     = abi.LogWarn
	LevelError    = abi.LogError
	LevelCritical = abi.LogCritical
)

// Logger writes to the host's log. Envoy puts the plugin's name before each line, and shows what its component log level
// for wasm lets through. The methods that end in f format as fmt.Sprintf, and only when the level shows. Package sdkslog
// makes a slog.Logger of it.
type Logger struct{ host abi.Host }

// Enabled reports whether lines of a level show at the moment. It is a host call.
func (l Logger) Enabled(level Level) bool {
	shown, status := l.host.LogLevel()
	return status != abi.OK || level >= shown
}

// Log writes a line. A level that does not exist writes none.
func (l Logger) Log(level Level, message string) { l.host.Log(level, message) }

func (l Logger) printf(level Level, format string, args []any) {
	if l.Enabled(level) {
		l.host.Log(level, fmt.Sprintf(format, args...))
	}
}

// Trace writes a line at level trace.
func (l Logger) Trace(message string) { l.host.Log(abi.LogTrace, message) }

// Debug writes a line at level debug.
func (l Logger) Debug(message string) { l.host.Log(abi.LogDebug, message) }

// Info writes a line at level info.
func (l Logger) Info(message string) { l.host.Log(abi.LogInfo, message) }

// Warn writes a line at level warn.
func (l Logger) Warn(message string) { l.host.Log(abi.LogWarn, message) }

// Error writes a line at level error.
func (l Logger) Error(message string) { l.host.Log(abi.LogError, message) }

// Critical writes a line at level critical.
func (l Logger) Critical(message string) { l.host.Log(abi.LogCritical, message) }

// Tracef writes a formatted line at level trace.
func (l Logger) Tracef(format string, args ...any) { l.printf(abi.LogTrace, format, args) }

// Debugf writes a formatted line at level debug.
func (l Logger) Debugf(format string, args ...any) { l.printf(abi.LogDebug, format, args) }

// Infof writes a formatted line at level info.
func (l Logger) Infof(format string, args ...any) { l.printf(abi.LogInfo, format, args) }

// Warnf writes a formatted line at level warn.
func (l Logger) Warnf(format string, args ...any) { l.printf(abi.LogWarn, format, args) }

// Errorf writes a formatted line at level error.
func (l Logger) Errorf(format string, args ...any) { l.printf(abi.LogError, format, args) }

// Criticalf writes a formatted line at level critical.
func (l Logger) Criticalf(format string, args ...any) { l.printf(abi.LogCritical, format, args) }
