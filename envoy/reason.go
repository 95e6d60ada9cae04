package envoy

// Reasons picks the lines in which Envoy says why it refused something: in order, without its prefix, each once.
func Reasons(lines []string) []string {
	seen := map[string]bool{}
	var reasons []string
	for _, line := range lines {
		parsed := ParseLogLine(line)
		if parsed.Level != "error" && parsed.Level != "critical" || seen[parsed.Message] {
			continue
		}
		seen[parsed.Message] = true
		reasons = append(reasons, parsed.Message)
	}
	return reasons
}
