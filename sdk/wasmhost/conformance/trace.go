package conformance

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mark stands before every line that the guest of a case logs.
func mark(id int) string { return "@" + strconv.Itoa(id) + " " }

// marked finds a guest's line in a line of a log.
var marked = regexp.MustCompile(`@(\d+) (.*)$`)

// guestLine takes a guest's line out of a line of a log. ok is false for any other line.
func guestLine(line string) (id int, text string, ok bool) {
	m := marked.FindStringSubmatch(line)
	if m == nil {
		return 0, "", false
	}
	id, err := strconv.Atoi(m[1])
	return id, readable(m[2]), err == nil
}

var hexResult = regexp.MustCompile(`\b([bps]):([0-9a-f]*)`)

// queueReady is a line with a queue's token, which depends on what other VMs of the process have registered.
var queueReady = regexp.MustCompile(`^on_queue_ready\((\d+), \d+\)`)

// readable decodes the bytes in a guest's line, and puts a star where every host writes something else.
func readable(line string) string {
	line = queueReady.ReplaceAllString(line, "on_queue_ready($1, *)")
	return hexResult.ReplaceAllStringFunc(line, func(s string) string {
		b, err := hex.DecodeString(s[2:])
		if err != nil {
			return s
		}
		if s[0] == 'b' {
			return strconv.Quote(freeText(string(b)))
		}
		list, ok := deserialise(b)
		if !ok {
			return "not a map: " + strconv.Quote(string(b))
		}
		list = free(list)
		if s[0] == 's' {
			list = sortedPairs(list)
		}
		return fmt.Sprintf("%q", list)
	})
}

// sortedPairs orders a map by its names and values.
func sortedPairs(list []string) []string {
	var pairs [][2]string
	for i := 0; i+1 < len(list); i += 2 {
		pairs = append(pairs, [2]string{list[i], list[i+1]})
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return cmp.Or(strings.Compare(a[0], b[0]), strings.Compare(a[1], b[1])) })
	var out []string
	for _, p := range pairs {
		out = append(out, p[0], p[1])
	}
	return out
}

// deserialise reads the wire form of a map.
func deserialise(b []byte) ([]string, bool) {
	if len(b) == 0 {
		return []string{}, true
	}
	if len(b) == 1 && b[0] == 0 {
		return []string{"an empty map", "in one byte"}, true
	}
	if len(b) < 4 {
		return nil, false
	}
	n := int(binary.LittleEndian.Uint32(b))
	if n > len(b) || len(b) < 4+8*n {
		return nil, false
	}
	sizes, rest := b[4:4+8*n], b[4+8*n:]
	var list []string
	for i := range 2 * n {
		size := int(binary.LittleEndian.Uint32(sizes[4*i:]))
		if size < 0 || len(rest) <= size || rest[size] != 0 {
			return nil, false
		}
		list = append(list, string(rest[:size]))
		rest = rest[size+1:]
	}
	return list, len(rest) == 0
}

// Values that no two runs share. They are replaced by a star, wherever they stand.
var (
	freeHeaders = []string{"x-request-id", "x-envoy-upstream-service-time", "x-envoy-expected-rq-timeout-ms"}
	uuid        = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	address     = regexp.MustCompile(`127\.0\.0\.1:\d+`)
)

func freeText(s string) string {
	return address.ReplaceAllString(uuid.ReplaceAllString(s, "*"), "127.0.0.1:*")
}

// notTheHosts are response headers that Envoy's connection manager adds.
var notTheHosts = []string{"date", "server"}

// free puts a star for the values of headers that no two runs share.
func free(list []string) []string {
	var out []string
	for i := 0; i+1 < len(list); i += 2 {
		if !slices.Contains(notTheHosts, list[i]) {
			out = append(out, list[i], list[i+1])
		}
	}
	for i := 0; i+1 < len(out); i += 2 {
		if slices.Contains(freeHeaders, out[i]) {
			out[i+1] = "*"
		}
		out[i+1] = freeText(out[i+1])
	}
	return out
}

// event is what a client or a peer got.
type event struct {
	kind    eventKind
	headers []string
	data    string
	end     bool
}

type eventKind int

const (
	evHeaders eventKind = iota
	evData
	evMetadata
	evReset
)

// lines renders events, frames of data that follow each other as one: how many there are is the network's affair.
func lines(who string, events []event) []string {
	var merged []event
	for _, e := range events {
		if n := len(merged); n > 0 && e.kind == evData && merged[n-1].kind == evData && !merged[n-1].end {
			merged[n-1].data += e.data
			merged[n-1].end = e.end
			continue
		}
		merged = append(merged, e)
	}
	var out []string
	for _, e := range merged {
		end := ""
		if e.end {
			end = " end"
		}
		switch e.kind {
		case evHeaders:
			out = append(out, fmt.Sprintf("%s got headers %q%s", who, seen(e.headers), end))
		case evData:
			if e.data == "" && !e.end {
				continue
			}
			out = append(out, fmt.Sprintf("%s got data %q%s", who, e.data, end))
		case evMetadata:
			out = append(out, fmt.Sprintf("%s got metadata %q", who, e.headers))
		case evReset:
			if who == "up" {
				continue // how the router ends the upstream's stream is not the Wasm host's affair
			}
			out = append(out, who+" got a reset")
		}
	}
	return out
}

// seen are the headers that the suite compares at the ends: what filters and cases write. What Envoy's connection manager and router
// add besides is theirs, not the Wasm host's.
func seen(list []string) []string {
	var out []string
	for i := 0; i+1 < len(list); i += 2 {
		n := list[i]
		if n == ":status" || n == ":path" || n == "grpc-status" || n == "grpc-message" || n == "content-type" || n == "content-length" ||
			strings.HasPrefix(n, "x-") && !strings.HasPrefix(n, "x-envoy") && !strings.HasPrefix(n, "x-forwarded") && n != "x-request-id" {
			out = append(out, n, list[i+1])
		}
	}
	return out
}

// trace is what a case left behind: for each step what the guest wrote, and what the client and the peers got.
type trace struct {
	steps []stepTrace
}

type stepTrace struct {
	name  string
	guest []string
	ends  []string
	// breaks says that Envoy died of the step, or that wasmhost said that Envoy would misbehave (ErrMisuse).
	breaks bool
}

// untilDeath cuts a trace after the step of which Envoy died. What happened in that step before the end is not in the log.
func untilDeath(envoy, host trace) (trace, trace) {
	last := len(envoy.steps) - 1
	if last < 0 || !envoy.steps[last].breaks {
		return envoy, host
	}
	cut := func(t trace) trace {
		out := trace{steps: slices.Clone(t.steps[:min(last+1, len(t.steps))])}
		if len(out.steps) > last && out.steps[last].breaks {
			out.steps[last] = stepTrace{name: out.steps[last].name, ends: []string{"Envoy breaks"}}
		}
		return out
	}
	return cut(envoy), cut(host)
}

// String writes the trace as text, one line for each thing that happened.
func (t trace) String() string {
	var b strings.Builder
	for _, s := range t.steps {
		b.WriteString("== " + s.name + "\n")
		for _, l := range s.guest {
			b.WriteString(l + "\n")
		}
		for _, l := range byEnd(s.ends) {
			b.WriteString("-- " + l + "\n")
		}
	}
	return b.String()
}

// byEnd orders lines by whom they are about: which of two ends got its own first is the network's affair.
func byEnd(lines []string) []string {
	out := slices.Clone(lines)
	slices.SortStableFunc(out, func(a, b string) int {
		x, _, _ := strings.Cut(a, " ")
		y, _, _ := strings.Cut(b, " ")
		return strings.Compare(x, y)
	})
	return out
}

// difference is empty if two traces are the same; else it shows both where they part, "-" what the real Envoy did, "+" what wasmhost did.
func difference(envoy, host trace) string {
	envoy, host = untilDeath(envoy, host)
	a, b := strings.Split(strings.TrimSuffix(envoy.String(), "\n"), "\n"), strings.Split(strings.TrimSuffix(host.String(), "\n"), "\n")
	if slices.Equal(a, b) {
		return ""
	}
	// A longest common subsequence; traces are short.
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	var out strings.Builder
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out.WriteString("  " + a[i] + "\n")
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && table[i+1][j] >= table[i][j+1]:
			out.WriteString("- " + a[i] + "\n")
			i++
		default:
			out.WriteString("+ " + b[j] + "\n")
			j++
		}
	}
	return out.String()
}
