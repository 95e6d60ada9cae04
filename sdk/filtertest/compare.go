package filtertest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Mismatch is a scenario that two backends see differently.
type Mismatch struct {
	File        string       `json:"file"`
	Name        string       `json:"name"`
	Differences []Difference `json:"differences"` // Want is what the first backend saw, Got the second
}

// Compare lists the scenarios in which two reports of the same files differ: in what reached the upstream, what the client got, what became of
// metrics, or whether the guest crashed or the configuration was refused. Log lines are not compared: they hold times and ids.
func Compare(a, b Report) []Mismatch {
	var out []Mismatch
	seen := map[[2]string]bool{}
	for _, ra := range a.Scenarios {
		key := [2]string{ra.File, ra.Name}
		seen[key] = true
		i := slices.IndexFunc(b.Scenarios, func(rb Result) bool { return rb.File == ra.File && rb.Name == ra.Name })
		var ds []Difference
		if i < 0 {
			ds = []Difference{{"scenario", "run by " + a.Backend, "not run by " + b.Backend}}
		} else {
			ds = compareObserved(ra.Observed, b.Scenarios[i].Observed)
		}
		if len(ds) > 0 {
			out = append(out, Mismatch{File: ra.File, Name: ra.Name, Differences: ds})
		}
	}
	for _, rb := range b.Scenarios {
		if !seen[[2]string{rb.File, rb.Name}] {
			out = append(out, Mismatch{File: rb.File, Name: rb.Name, Differences: []Difference{
				{"scenario", "not run by " + a.Backend, "run by " + b.Backend},
			}})
		}
	}
	return out
}

func compareObserved(a, b Observed) []Difference {
	var ds []Difference
	add := func(what, x, y string) {
		if x != y {
			ds = append(ds, Difference{what, x, y})
		}
	}
	add("configuration rejected", fmt.Sprint(a.ConfigRejected), fmt.Sprint(b.ConfigRejected))
	add("crash", fmt.Sprint(a.Error != ""), fmt.Sprint(b.Error != ""))
	add("exchanges", fmt.Sprint(len(a.Exchanges)), fmt.Sprint(len(b.Exchanges)))
	for i := range min(len(a.Exchanges), len(b.Exchanges)) {
		at := ""
		if len(a.Exchanges) > 1 {
			at = fmt.Sprintf(" (%s %d)", a.Exchanges[i].what(), i+1)
		}
		compareExchange(a.Exchanges[i], b.Exchanges[i], func(what, x, y string) { add(what+at, x, y) })
	}
	compareCallouts(a.Clusters, b.Clusters, add)
	names := sortedKeys(a.Metrics)
	for _, n := range sortedKeys(b.Metrics) {
		if _, ok := a.Metrics[n]; !ok {
			names = append(names, n)
		}
	}
	for _, n := range names {
		x, y := a.Metrics[n], b.Metrics[n]
		if x.Value != y.Value || x.Type != y.Type && x.Type != "" && y.Type != "" {
			add("metrics."+n, fmt.Sprintf("%s %d", x.Type, x.Value), fmt.Sprintf("%s %d", y.Type, y.Value))
		}
	}
	return ds
}

func compareExchange(a, b Exchange, add func(what, x, y string)) {
	if a.Connection != nil && b.Connection != nil {
		compareConnection(*a.Connection, *b.Connection, add)
		return
	}
	add("upstream", presence(a.Upstream != nil), presence(b.Upstream != nil))
	if x, y := a.Upstream, b.Upstream; x != nil && y != nil {
		compareRequest("upstream", *x, *y, add)
	}
	add("response", presence(a.Response != nil), presence(b.Response != nil))
	if x, y := a.Response, b.Response; x != nil && y != nil {
		add("response.status", fmt.Sprint(x.Status), fmt.Sprint(y.Status))
		compareHeaders("response", x.Headers, y.Headers, add)
		add("response.body", fmt.Sprintf("%q", x.Body), fmt.Sprintf("%q", y.Body))
		compareHeaders("response.trailers", x.Trailers, y.Trailers, add)
	}
}

func compareRequest(what string, x, y ObservedRequest, add func(what, x, y string)) {
	add(what+".method", x.Method, y.Method)
	add(what+".path", x.Path, y.Path)
	add(what+".authority", x.Authority, y.Authority)
	compareHeaders(what, x.Headers, y.Headers, add)
	add(what+".body", fmt.Sprintf("%q", x.Body), fmt.Sprintf("%q", y.Body))
	compareHeaders(what+".trailers", x.Trailers, y.Trailers, add)
	add(what+".messages", fmt.Sprintf("%q", x.Messages), fmt.Sprintf("%q", y.Messages))
}

func compareCallouts(a, b map[string][]ObservedRequest, add func(what, x, y string)) {
	all := maps.Clone(a)
	if all == nil {
		all = map[string][]ObservedRequest{}
	}
	maps.Copy(all, b)
	for _, name := range sortedKeys(all) {
		x, y := a[name], b[name]
		add("clusters."+name, fmt.Sprintf("%d requests", len(x)), fmt.Sprintf("%d requests", len(y)))
		for i := range min(len(x), len(y)) {
			compareRequest(fmt.Sprintf("clusters.%s[%d]", name, i), x[i], y[i], add)
		}
	}
}

func compareHeaders(what string, a, b map[string][]string, add func(what, x, y string)) {
	all := maps.Clone(a)
	if all == nil {
		all = map[string][]string{}
	}
	maps.Copy(all, b)
	for _, name := range sortedKeys(all) {
		add(what+".headers."+name, describe(a, name), describe(b, name))
	}
}

func describe(hs map[string][]string, name string) string {
	if v, ok := hs[name]; ok {
		return fmt.Sprintf("%q", v)
	}
	return "absent"
}

func presence(there bool) string {
	if there {
		return "there"
	}
	return "none"
}

// String writes the mismatch on several lines.
func (m Mismatch) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: scenario %q", m.File, m.Name)
	for _, d := range m.Differences {
		fmt.Fprintf(&b, "\n  %s: %s against %s", d.What, d.Want, d.Got)
	}
	return b.String()
}
