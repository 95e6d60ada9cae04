package filtertest

import (
	"encoding/json"
	"slices"
	"strings"
)

// vocabulary is what the scenarios of a filter talk about: random messages are made of it, so that they reach further into
// the filter than noise does.
type vocabulary struct {
	requests []Request
	talks    [][]Step // of connections
	replies  []Reply
	names    []string // of headers, lower case
	values   []string // of headers, fields, bodies; from the configurations too
	clusters []string
}

// commonNames are headers that most filters, and Envoy, care about.
var commonNames = []string{
	"accept", "authorization", "content-type", "cookie", "origin", "x-forwarded-for", "x-forwarded-proto", "x-request-id", "x-unknown",
	"access-control-request-method", "cache-control", "te",
}

// newVocabulary gathers the words of scenario files.
func newVocabulary(files []File) vocabulary {
	v := vocabulary{names: slices.Clone(commonNames), values: []string{"", "0", "-1", "9223372036854775808", "true", "null", "*", "a,b", "\"", "%", "ä"}}
	for _, f := range files {
		v.replies = append(v.replies, f.Upstream)
		v.clusters = append(v.clusters, upstreamCluster)
		for _, c := range f.Clusters {
			v.clusters = append(v.clusters, c.Name)
			v.replies = append(v.replies, c.Reply)
		}
		var config any
		if json.Unmarshal(f.Config, &config) == nil {
			v.learn(config)
		}
		for _, s := range f.Scenarios {
			if s.Connection != nil {
				v.talks = append(v.talks, s.Connection)
				for _, step := range s.Connection {
					v.values = append(v.values, step.Data)
				}
				continue
			}
			v.requests = append(v.requests, s.Request)
			v.replies = append(v.replies, s.Upstream)
			for _, h := range s.Request.Headers {
				v.names = append(v.names, h.Name)
				v.values = append(v.values, h.Value)
			}
			v.values = append(v.values, s.Request.Body, s.Request.Path, s.Request.Authority)
		}
	}
	for i := range v.replies {
		if v.replies[i].Status == 0 {
			v.replies[i].Status = defaultStatus
		}
	}
	for _, list := range []*[]string{&v.names, &v.values, &v.clusters} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return v
}

// learn takes the strings out of a configuration: as values, and as names of headers where they can be that.
func (v *vocabulary) learn(value any) {
	switch c := value.(type) {
	case string:
		v.values = append(v.values, c)
		if name := strings.ToLower(c); headerName(name) {
			v.names = append(v.names, name)
		}
	case []any:
		for _, e := range c {
			v.learn(e)
		}
	case map[string]any:
		for name, e := range c {
			v.learn(name)
			v.learn(e)
		}
	}
}

// headerName says whether a word can be the name of a header.
func headerName(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && s != "host" && s != "content-length" && s != "transfer-encoding"
}
