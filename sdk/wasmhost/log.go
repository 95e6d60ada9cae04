package wasmhost

import "fmt"

// LogLevel is the level of a log line (proxy_log_level_t).
type LogLevel uint32

// The levels of the ABI.
const (
	LogTrace LogLevel = iota
	LogDebug
	LogInfo
	LogWarn
	LogError
	LogCritical
)

// String gives the level's name as Envoy writes it.
func (l LogLevel) String() string {
	if int(l) < 6 {
		return [...]string{"trace", "debug", "info", "warning", "error", "critical"}[l]
	}
	return fmt.Sprintf("level %d", uint32(l))
}

// Log is one message of a guest, or of the host about it.
type Log struct {
	Level   LogLevel
	Message string
}

// log keeps a message. c is the context that logged; nil for the host itself.
func (in *instance) log(c *guestContext, level LogLevel, message string) {
	if c != nil && level >= LogError {
		in.words(message + "\n")
	}
	in.vm.keepLog(Log{level, message})
}

// words keeps what a guest says at error level or on stderr in the running callback: its last words, if it crashes.
func (in *instance) words(text string) {
	if room := maxStderr - len(in.stderr); room > 0 {
		in.stderr = append(in.stderr, text[:min(room, len(text))]...)
	}
}

// keepLog keeps a message within the limits.
func (v *VM) keepLog(l Log) {
	if l.Level < v.proxy.LogLevel {
		return
	}
	if v.cfg.Log != nil {
		v.cfg.Log(l)
	}
	if len(v.logs) >= MaxLogLines || v.logBytes+len(l.Message) > MaxLogBytes {
		v.logsDropped++
		return
	}
	v.logBytes += len(l.Message)
	v.logs = append(v.logs, l)
}

// TakeLogs gives the messages since the last call, oldest first, and how many were dropped because there were too many.
func (v *VM) TakeLogs() (logs []Log, dropped int) {
	logs, dropped = v.logs, v.logsDropped
	v.logs, v.logBytes, v.logsDropped = nil, 0, 0
	return logs, dropped
}
