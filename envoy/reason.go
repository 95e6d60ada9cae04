package envoy

import (
	"regexp"
	"strings"
)

// reasonBytes bounds one reason; a module can log megabytes before it dies.
const reasonBytes = 2 << 10

// Wrappings that Envoy puts around a reason, and that say nothing themselves.
var (
	reasonWrapping = regexp.MustCompile(`^(?:error initializing configuration '[^']*'|Filesystem config update rejected|Wasm VM failed):? `)
	// The plugin is named again by "Unable to create Wasm plugin NAME", which always follows.
	reasonNoise = regexp.MustCompile(`^(?:Plugin \S+ failed to load|Plugin configured to fail (?:closed|open) failed to load)$`)
	// goTrace is where a Go panic's message ends and its stacks begin.
	goTrace = regexp.MustCompile(`(?m)^(?:goroutine \d|runtime stack:|runtime\.throw\()`)
)

// Reasons picks out of Envoy's log what says why it refused something: its own errors and those of the modules, in order,
// each once, without prefixes. A module's words are preceded by its filter's name. A Go module writes a panic in pieces;
// they are put together, without the stacks.
func Reasons(lines []string) []string {
	var reasons []string
	seen := map[string]bool{}
	add := func(reason string) {
		if reason = strings.TrimSpace(reason); reason == "" || seen[reason] {
			return
		}
		if len(reason) > reasonBytes {
			reason = strings.ToValidUTF8(reason[:reasonBytes], "") + " …"
		}
		seen[reason] = true
		reasons = append(reasons, reason)
	}
	var filter string
	var pieces []string
	flush := func() {
		for _, message := range guestMessages(pieces) {
			if message = strings.TrimSpace(message); message != "" && filter != "" {
				message = filter + ": " + message
			}
			add(message)
		}
		pieces = nil
	}
	for _, line := range lines {
		parsed := ParseLogLine(line)
		if parsed.Level == "" {
			continue // the rest of a message of several lines: backtraces
		}
		if !parsed.Guest || parsed.Filter != filter {
			flush()
			filter = parsed.Filter
		}
		if !grave(parsed) {
			continue
		}
		if parsed.Guest {
			pieces = append(pieces, parsed.Message)
			continue
		}
		message := parsed.Message
		for {
			inner := reasonWrapping.ReplaceAllString(message, "")
			if inner == message {
				break
			}
			message = inner
		}
		if !reasonNoise.MatchString(message) {
			add(message)
		}
	}
	flush()
	return reasons
}

// grave says whether a line can be a reason: an error, or the warning with which a subscription refuses its file.
func grave(line LogLine) bool {
	if line.Level == "error" || line.Level == "critical" {
		return true
	}
	return rejection(line)
}

func rejection(line LogLine) bool {
	return line.Level == "warning" && line.Logger == "config" && strings.Contains(line.Message, "rejected: ")
}

// IsRejection says whether a line is the last word of Envoy on a file of a slot that it refuses; what the modules and the
// runtime say of it stands before.
func IsRejection(line string) bool { return rejection(ParseLogLine(line)) }

// guestMessages puts together what a module wrote in pieces: an empty piece is a line's end. Without one, each piece is a
// message of its own.
func guestMessages(pieces []string) []string {
	inPieces := false
	for _, piece := range pieces {
		inPieces = inPieces || piece == ""
	}
	if !inPieces {
		return pieces
	}
	var text strings.Builder
	for _, piece := range pieces {
		if piece == "" {
			piece = "\n"
		}
		text.WriteString(piece)
	}
	whole := text.String()
	if at := goTrace.FindStringIndex(whole); at != nil {
		whole = whole[:at[0]]
	}
	return strings.FieldsFunc(whole, func(r rune) bool { return r == '\n' })
}
