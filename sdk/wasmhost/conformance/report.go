package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// maxListed is how many differences may be listed instead of fixed.
const maxListed = 20

// Report is what a run of the suite found. It is what bench/out/conformance.json holds.
type Report struct {
	Versions      []string           `json:"versions"`       // of Envoy
	HostFunctions int                `json:"host_functions"` // of the ABI's newest version
	Callbacks     int                `json:"callbacks"`      // that any Envoy calls
	Cases         int                `json:"cases"`
	Differences   []ListedDifference `json:"differences"`

	names    []string          // of the cases, in order
	verdicts map[string]string // by case and version
	faults   []string          // what is neither the same nor listed, with the two traces
}

// ListedDifference is one case in which wasmhost does on purpose, or for now, what an Envoy does not.
type ListedDifference struct {
	Case    string `json:"case"`
	Version string `json:"version"`
	Reason  string `json:"reason"`
}

// Verdicts on a case under a version.
const (
	same      = "same"
	differs   = "DIFFERS"
	listed    = "listed"
	stale     = "STALE"
	failed    = "FAILED"
	notForIt  = "-"
	nameWidth = 78
)

// Run runs the cases whose names match under every version and compares. Progress goes to log. The error is about running, not about differences: those
// are in the report, and Report.Err tells.
func Run(ctx context.Context, versions []string, only *regexp.Regexp, log io.Writer) (*Report, error) {
	matches := func(c testCase) bool { return only.MatchString(c.name) }
	host, err := wasmhost.NewHost(ctx, wasmhost.Config{CacheDir: wasmhost.CacheOff})
	if err != nil {
		return nil, err
	}
	defer func() { _ = host.Close(ctx) }()
	r := &Report{
		Versions: versions, HostFunctions: len(hostFunctions), Callbacks: len(callbacks) - len(uncalled),
		Differences: []ListedDifference{}, verdicts: map[string]string{},
	}
	for _, c := range allCases() {
		if matches(c) {
			r.names = append(r.names, c.name)
		}
	}
	r.Cases = len(r.names)
	for _, version := range versions {
		number, err := envoy.ParseNumber(version)
		if err != nil {
			return nil, err
		}
		binary, err := envoy.FindVersion(number)
		if err != nil {
			return nil, err
		}
		dir, err := os.MkdirTemp("", "conformance-")
		if err != nil {
			return nil, err
		}
		results, err := compare(ctx, host, binary, version, dir, casesFor(version, matches))
		if err != nil {
			return nil, fmt.Errorf("%w; what is left of it is in %s", err, dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
		unlike := 0
		for _, res := range results {
			if r.judge(res) != same {
				unlike++
			}
		}
		_, _ = fmt.Fprintf(log, "Envoy %s: %d cases, %d not the same\n", version, len(results), unlike) // progress only
	}
	return r, nil
}

// judge notes the verdict on one result.
func (r *Report) judge(res result) string {
	reason, known := listedReason(res.name, res.version)
	verdict := same
	switch {
	case res.err != nil:
		verdict = failed
		r.faults = append(r.faults, fmt.Sprintf("%s on Envoy %s could not be run: %v", res.name, res.version, res.err))
	case res.diff != "" && known:
		verdict = listed
		r.Differences = append(r.Differences, ListedDifference{res.name, res.version, reason})
	case res.diff != "":
		verdict = differs
		r.faults = append(r.faults, fmt.Sprintf("%s: Envoy %s (-) and wasmhost (+) differ:\n%s", res.name, res.version, res.diff))
	case known:
		verdict = stale
		r.faults = append(r.faults, fmt.Sprintf("%s is listed as a difference to Envoy %s and is none any more: take it off the list", res.name, res.version))
	}
	r.verdicts[res.name+"\x00"+res.version] = verdict
	return verdict
}

// Err is nil if all cases are the same or listed, and not too many are listed.
func (r *Report) Err() error {
	distinct := map[string]bool{}
	for _, d := range r.Differences {
		distinct[d.Case] = true
	}
	switch {
	case len(r.faults) > 0:
		return fmt.Errorf("%d verdicts of %d are neither the same nor listed", len(r.faults), len(r.verdicts))
	case len(distinct) > maxListed:
		return fmt.Errorf("%d cases are listed as differences; at most %d may be", len(distinct), maxListed)
	}
	return nil
}

// WriteTable writes cases × versions, then everything that is neither the same nor listed, with both traces.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s", nameWidth, "case")
	for _, v := range r.Versions {
		fmt.Fprintf(&b, " %-8s", v)
	}
	b.WriteByte('\n')
	for _, n := range r.names {
		fmt.Fprintf(&b, "%-*s", nameWidth, n)
		for _, v := range r.Versions {
			verdict, ran := r.verdicts[n+"\x00"+v]
			if !ran {
				verdict = notForIt
			}
			fmt.Fprintf(&b, " %-8s", verdict)
		}
		b.WriteByte('\n')
	}
	for _, f := range r.faults {
		b.WriteString("\n" + f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the report to a file, whose folder it makes.
func (r *Report) WriteJSON(path string) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(content, '\n'), 0o644)
}

// WriteDocs writes the page for users: how many cases of each group are the same, and every listed difference with its reason.
func (r *Report) WriteDocs(path string) error {
	var b strings.Builder
	b.WriteString(docsHead)
	fmt.Fprintf(&b, "%d cases: %d host functions of the ABI (and the four that only ABI 0.1.0 has), %d WASI functions, %d callbacks. "+
		"Two more callbacks, `proxy_on_foreign_function` and `proxy_validate_configuration`, are in the ABI, and no Envoy calls them.\n\n",
		r.Cases, r.HostFunctions, len(wasiFunctions), r.Callbacks)
	b.WriteString("| group | cases |")
	for _, v := range r.Versions {
		b.WriteString(" " + v + " |")
	}
	b.WriteString("\n| --- | --- |" + strings.Repeat(" --- |", len(r.Versions)) + "\n")
	var groups []string
	members := map[string][]string{}
	for _, n := range r.names {
		g, _, _ := strings.Cut(n, "/")
		if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
		members[g] = append(members[g], n)
	}
	for _, g := range groups {
		fmt.Fprintf(&b, "| %s | %d |", g, len(members[g]))
		for _, v := range r.Versions {
			equal, ran := 0, 0
			for _, n := range members[g] {
				switch r.verdicts[n+"\x00"+v] {
				case "":
					continue
				case same:
					equal++
				}
				ran++
			}
			if equal == ran {
				fmt.Fprintf(&b, " %d same |", equal)
			} else {
				fmt.Fprintf(&b, " %d of %d same |", equal, ran)
			}
		}
		b.WriteByte('\n')
	}
	b.WriteString("\n## Differences\n\n")
	if len(r.Differences) == 0 {
		b.WriteString("None.\n")
	} else {
		b.WriteString("| case | Envoy | why wasmhost differs |\n| --- | --- | --- |\n")
	}
	var order []string
	versions := map[string][]string{}
	for _, d := range r.Differences {
		key := d.Case + "\x00" + d.Reason
		if versions[key] == nil {
			order = append(order, key)
		}
		versions[key] = append(versions[key], d.Version)
	}
	for _, key := range order {
		name, reason, _ := strings.Cut(key, "\x00")
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, strings.Join(versions[key], ", "), reason)
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

const docsHead = `# Does wasmhost tell the truth?

This page is made by ` + "`make conformance`" + `. The suite runs small modules in ` + "`sdk/wasmhost`" + ` and in real Envoys. Each module writes down every
callback that it gets, with its arguments, and for each host function that it calls the status and what came back; the suite writes down
what the client and the servers around got. A case is the same if the two traces are the same, line by line. What is not
compared, because no two runs of one Envoy agree on it, stands in the package's documentation
(` + "`go doc ./sdk/wasmhost/conformance`" + `).

` + "`make conformance-mutation`" + ` takes each function out of wasmhost in turn, and shows that a case then has another trace.
One case: ` + "`CONFORMANCE_ONLY='maps/read request headers' go test -v ./sdk/wasmhost/conformance`" + `.

`
