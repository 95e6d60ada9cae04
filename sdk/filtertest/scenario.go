package filtertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// Limits of scenario files.
const (
	// MaxFileSize is the size of the largest scenario file, in bytes.
	MaxFileSize = 4 << 20
	// MaxRepeat is the highest repeat of a scenario.
	MaxRepeat = 10_000
)

// ErrNoScenarios says that a folder has no scenario files.
var ErrNoScenarios = errors.New("no scenario files")

// File is a scenario file: one configuration, and either scenarios or an error that configuring must give.
type File struct {
	Path        string // where it was read from
	Description string
	Config      []byte // the plugin's configuration, raw; nil if the file has none
	ConfigError string // not empty: configuring must fail, and a log line must contain this
	Upstream    Reply
	Clusters    []Cluster // that callouts can reach, besides the upstream
	Scenarios   []Scenario
}

// TCP says whether the file's scenarios are connections. They are all of one kind, since a listener of Envoy is.
func (f File) TCP() bool { return len(f.Scenarios) > 0 && f.Scenarios[0].Connection != nil }

// Scenario is one request or one connection, sent or made once or more, and what must come of it.
type Scenario struct {
	Name    string
	After   time.Duration // time that passes before it
	Request Request
	// Connection is what happens on a connection, for a filter of connections. nil: the scenario is a request. Empty: a client connects, and
	// says nothing. Request and Upstream then mean nothing.
	Connection []Step
	Upstream   Reply     // the file's where the scenario has none
	Clusters   []Cluster // the file's, as the scenario has them
	Repeat     int       // at least 1
	Want       Want
}

// Request is what the client sends.
type Request struct {
	Method    string // default GET
	Path      string // default /
	Authority string // default waft.test
	Headers   wasmhost.Headers
	Body      string
	Trailers  wasmhost.Headers
	// Leave is when the client goes away, after it has sent everything; 0: it waits for the response.
	Leave time.Duration
}

// Reply is what the upstream, or a cluster, answers.
type Reply struct {
	Status   int // default 200
	Headers  wasmhost.Headers
	Body     string
	Trailers wasmhost.Headers
	Delay    time.Duration // before anything of it is sent
	Fault    Fault
}

// Want is what must come of a scenario. What is not said may be anything.
type Want struct {
	NoUpstream bool // the request, or a connection, must not reach the upstream
	Upstream   *WantRequest
	Response   *WantResponse
	NoResponse bool // the client must get none
	// Of a connection: what its two ends must get, and who must have closed it; empty: anybody.
	UpstreamEnd, Client *WantEnd
	ClosedBy            Party

	Clusters map[string]WantCallout // of the clusters that are named
	Metrics  map[string]int64
	Logs     []string
}

// WantRequest is what the upstream must get.
type WantRequest struct {
	Method, Path, Authority string
	Headers                 map[string][]string
	Absent                  []string
	Body                    *string
}

// WantCallout is what must have reached a cluster in a scenario, all repetitions together.
type WantCallout struct {
	Times    int         // how many requests
	Each     WantRequest // what each of them must be like
	Messages []string    // what a gRPC server must have got in each call; nil: anything
}

// WantResponse is what the client must get.
type WantResponse struct {
	Status       int
	Headers      map[string][]string
	Absent       []string
	Body         *string
	BodyContains string
	// Varies are headers that must be there, with values that depend on the clock or on chance: no two runs have the same.
	Varies []string
}

// Defaults of scenario files.
const (
	defaultMethod    = "GET"
	defaultPath      = "/"
	defaultAuthority = "waft.test"
	defaultStatus    = 200
	defaultBody      = "ok"
)

// Load reads all scenario files of DIR/scenarios, sorted by name. The error names the file and the line, or wraps ErrNoScenarios.
func Load(dir string) ([]File, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "scenarios", "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("scenarios of %s: %w", dir, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: %w; add one, for example scenarios/basic.yaml", dir, ErrNoScenarios)
	}
	slices.Sort(paths)
	var files []File
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("scenario file: %w", err)
		}
		f, err := Parse(path, data)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// The YAML form.
type (
	fileYAML struct {
		Description string         `yaml:"description"`
		Config      yaml.Node      `yaml:"config"`
		ConfigError string         `yaml:"configError"`
		Upstream    *replyYAML     `yaml:"upstream"`
		Clusters    clustersYAML   `yaml:"clusters"`
		Scenarios   []scenarioYAML `yaml:"scenarios"`
	}
	scenarioYAML struct {
		Name       string         `yaml:"name"`
		After      durationYAML   `yaml:"after"`
		Request    *requestYAML   `yaml:"request"`
		Connection connectionYAML `yaml:"connection"`
		Upstream   *replyYAML     `yaml:"upstream"`
		Clusters   clustersYAML   `yaml:"clusters"`
		Repeat     *int           `yaml:"repeat"`
		Want       wantYAML       `yaml:"want"`
	}
	requestYAML struct {
		Method    string       `yaml:"method"`
		Path      string       `yaml:"path"`
		Authority string       `yaml:"authority"`
		Headers   headersYAML  `yaml:"headers"`
		Body      string       `yaml:"body"`
		Trailers  headersYAML  `yaml:"trailers"`
		Leave     durationYAML `yaml:"leave"`
	}
	replyYAML struct {
		Status   int          `yaml:"status"`
		Headers  headersYAML  `yaml:"headers"`
		Body     *string      `yaml:"body"`
		Trailers headersYAML  `yaml:"trailers"`
		Delay    durationYAML `yaml:"delay"`
		Fault    Fault        `yaml:"fault"`
	}
	wantYAML struct {
		Upstream wantUpstreamYAML           `yaml:"upstream"`
		Response wantResponseYAML           `yaml:"response"`
		Client   *wantEndYAML               `yaml:"client"`
		ClosedBy Party                      `yaml:"closedBy"`
		Clusters map[string]wantCalloutYAML `yaml:"clusters"`
		Metrics  map[string]int64           `yaml:"metrics"`
		Logs     []string                   `yaml:"logs"`
	}
	wantResponseFields struct {
		Status       int         `yaml:"status"`
		Headers      headersYAML `yaml:"headers"`
		Absent       []string    `yaml:"absent"`
		Body         *string     `yaml:"body"`
		BodyContains string      `yaml:"bodyContains"`
		Varies       []string    `yaml:"varies"`
	}
	wantRequestYAML struct {
		Method    string      `yaml:"method"`
		Path      string      `yaml:"path"`
		Authority string      `yaml:"authority"`
		Headers   headersYAML `yaml:"headers"`
		Absent    []string    `yaml:"absent"`
		Body      *string     `yaml:"body"`
	}
)

// wantUpstreamYAML is "none", or a mapping: of a request, or of an end of a connection.
type wantUpstreamYAML struct {
	none bool
	line int
	keys int // how many the mapping has
	want *wantRequestYAML
	end  *wantEndYAML
}

// UnmarshalYAML reads "none" or a mapping.
func (w *wantUpstreamYAML) UnmarshalYAML(n *yaml.Node) (err error) {
	w.line, w.keys = n.Line, len(n.Content)/2
	if w.none, err = isNone(n, "upstream"); w.none || err != nil {
		return err
	}
	for i := 0; i < len(n.Content); i += 2 {
		if slices.Contains(endKeys, n.Content[i].Value) {
			w.end = &wantEndYAML{}
			return w.end.UnmarshalYAML(n)
		}
	}
	w.want = &wantRequestYAML{}
	return strictDecode(n, w.want, "method", "path", "authority", "headers", "absent", "body")
}

// wantResponseYAML is "none" or a mapping.
type wantResponseYAML struct {
	none bool
	want *wantResponseFields
}

// UnmarshalYAML reads "none" or a mapping.
func (w *wantResponseYAML) UnmarshalYAML(n *yaml.Node) (err error) {
	if w.none, err = isNone(n, "response"); w.none || err != nil {
		return err
	}
	w.want = &wantResponseFields{}
	return strictDecode(n, w.want, "status", "headers", "absent", "body", "bodyContains", "varies")
}

// wantCalloutYAML is "none" or a mapping.
type wantCalloutYAML struct {
	wantRequestYAML `yaml:",inline"`

	Times    *int     `yaml:"times"`
	Messages []string `yaml:"messages"`
}

// UnmarshalYAML reads "none" or a mapping.
func (w *wantCalloutYAML) UnmarshalYAML(n *yaml.Node) error {
	none, err := isNone(n, "clusters")
	if none {
		w.Times = new(int)
	}
	if none || err != nil {
		return err
	}
	type plain wantCalloutYAML
	return strictDecode(n, (*plain)(w), "method", "path", "authority", "headers", "absent", "body", "times", "messages")
}

func (w wantCalloutYAML) want() WantCallout {
	times := 1
	if w.Times != nil {
		times = *w.Times
	}
	return WantCallout{Times: times, Each: w.request(), Messages: w.Messages}
}

func (w wantRequestYAML) request() WantRequest {
	return WantRequest{
		Method: w.Method, Path: w.Path, Authority: w.Authority, Headers: w.Headers.values(), Absent: lower(w.Absent), Body: w.Body,
	}
}

// isNone reads "none", which is the only word that may stand in the place of a mapping.
func isNone(n *yaml.Node, key string) (bool, error) {
	if n.Kind == yaml.ScalarNode && n.Value != "none" {
		return false, fmt.Errorf("line %d: %s: %q is not \"none\" and no mapping", n.Line, key, n.Value)
	}
	return n.Kind == yaml.ScalarNode, nil
}

// upstreamCluster is the name of the upstream's own cluster.
const upstreamCluster = "upstream"

// strictDecode decodes a mapping and refuses keys that are not in the list: a decoder's KnownFields does not reach custom unmarshallers.
func strictDecode(n *yaml.Node, v any, keys ...string) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: want a mapping", n.Line)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; !slices.Contains(keys, k.Value) {
			return fmt.Errorf("line %d: field %s is not known; there are %s", k.Line, k.Value, strings.Join(keys, ", "))
		}
	}
	return n.Decode(v)
}

// headersYAML is a mapping from names to a value or a list of values, in the file's order.
type headersYAML wasmhost.Headers

// UnmarshalYAML reads the mapping.
func (h *headersYAML) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: headers: want a mapping from names to values", n.Line)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		name := strings.ToLower(k.Value)
		if seen[name] {
			return fmt.Errorf("line %d: header %s is there twice; give a list of values", k.Line, k.Value)
		}
		seen[name] = true
		switch v.Kind {
		case yaml.ScalarNode:
			*h = append(*h, wasmhost.Header{Name: name, Value: v.Value})
		case yaml.SequenceNode:
			for _, e := range v.Content {
				if e.Kind != yaml.ScalarNode {
					return fmt.Errorf("line %d: header %s: want a string or a list of strings", e.Line, k.Value)
				}
				*h = append(*h, wasmhost.Header{Name: name, Value: e.Value})
			}
		default:
			return fmt.Errorf("line %d: header %s: want a string or a list of strings", v.Line, k.Value)
		}
	}
	return nil
}

func (h headersYAML) values() map[string][]string {
	if h == nil {
		return nil
	}
	out := map[string][]string{}
	for _, e := range h {
		out[e.Name] = append(out[e.Name], e.Value)
	}
	return out
}

var yamlPlace = regexp.MustCompile(`(?:yaml: )?(?:unmarshal errors:\s*)?line (\d+): (.*)`)
var yamlUnknown = regexp.MustCompile(`field (\S+) not found in type \S+`)

// parseError puts the file and the line before what is wrong.
func parseError(path string, err error) error {
	text := err.Error()
	var te *yaml.TypeError
	if errors.As(err, &te) && len(te.Errors) > 0 {
		text = te.Errors[0]
	}
	text = yamlUnknown.ReplaceAllString(text, "unknown key $1")
	if m := yamlPlace.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s:%s: %s", path, m[1], m[2])
	}
	return fmt.Errorf("%s: %s", path, strings.TrimPrefix(text, "yaml: "))
}

// Parse reads a scenario file. path is for messages. Errors name the file and the line or the key.
func Parse(path string, data []byte) (File, error) {
	if len(data) > MaxFileSize {
		return File{}, fmt.Errorf("%s: %d bytes, at most %d", path, len(data), MaxFileSize)
	}
	var y fileYAML
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&y); err != nil {
		if errors.Is(err, io.EOF) {
			return File{}, fmt.Errorf("%s: empty", path)
		}
		return File{}, parseError(path, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return File{}, fmt.Errorf("%s: more than one YAML document; use one file each", path)
	}
	f := File{Path: path, Description: y.Description, ConfigError: y.ConfigError}
	var err error
	if f.Config, err = configBytes(&y.Config); err != nil {
		return File{}, fmt.Errorf("%s:%d: config: %w", path, y.Config.Line, err)
	}
	f.Upstream = y.Upstream.reply(Reply{Status: defaultStatus, Body: defaultBody})
	f.Clusters = y.Clusters
	switch {
	case f.ConfigError != "" && len(y.Scenarios) > 0:
		return File{}, fmt.Errorf("%s: configError and scenarios: give one of them", path)
	case f.ConfigError == "" && len(y.Scenarios) == 0:
		return File{}, fmt.Errorf("%s: neither scenarios nor configError", path)
	}
	names := map[string]bool{}
	for i, s := range y.Scenarios {
		sc, err := s.scenario(f)
		switch {
		case err != nil:
		case names[sc.Name]:
			err = errors.New("name: there is another scenario of this name")
		case sc.Connection != nil && y.Upstream != nil:
			err = errors.New("connection: the file's upstream answers requests; what the upstream of a connection sends stands in its steps")
		case i > 0 && f.TCP() != (sc.Connection != nil):
			err = errors.New("connection: the scenarios of a file are all requests or all connections; give the others a file of their own")
		}
		if err != nil {
			return File{}, fmt.Errorf("%s: scenarios[%d] (%s): %w", path, i, s.Name, err)
		}
		names[sc.Name] = true
		f.Scenarios = append(f.Scenarios, sc)
	}
	return f, nil
}

func (y *replyYAML) reply(def Reply) Reply {
	if y == nil {
		return def
	}
	r := Reply{
		Status: y.Status, Headers: wasmhost.Headers(y.Headers), Body: defaultBody, Trailers: wasmhost.Headers(y.Trailers),
		Delay: time.Duration(y.Delay), Fault: y.Fault,
	}
	if r.Status == 0 {
		r.Status = defaultStatus
	}
	if y.Body != nil {
		r.Body = *y.Body
	}
	return r
}

func (y scenarioYAML) scenario(f File) (s Scenario, err error) {
	s = Scenario{Name: y.Name, After: time.Duration(y.After), Upstream: y.Upstream.reply(f.Upstream), Repeat: 1}
	if s.Name == "" {
		return s, errors.New("name: missing")
	}
	if s.Clusters, err = override(f.Clusters, y.Clusters); err != nil {
		return s, err
	}
	if y.Repeat != nil {
		if s.Repeat = *y.Repeat; s.Repeat < 1 || s.Repeat > MaxRepeat {
			return s, fmt.Errorf("repeat: %d is not between 1 and %d", s.Repeat, MaxRepeat)
		}
	}
	s.Want = Want{NoUpstream: y.Want.Upstream.none, NoResponse: y.Want.Response.none, Metrics: y.Want.Metrics, Logs: y.Want.Logs}
	if s.Want.Clusters, err = y.Want.clusters(s.Clusters); err != nil {
		return s, err
	}
	if y.Connection.given {
		return s, y.connection(&s)
	}
	return s, y.exchange(&s)
}

// exchange completes a scenario that is a request.
func (y scenarioYAML) exchange(s *Scenario) error {
	if y.Want.Client != nil || y.Want.ClosedBy != "" || y.Want.Upstream.end != nil {
		return errors.New("want: client, closedBy, and upstream with data and closed, are of a connection; the scenario has none")
	}
	request := y.Request
	if request == nil {
		request = &requestYAML{}
	}
	s.Request = Request{
		Method: orDefault(request.Method, defaultMethod), Path: orDefault(request.Path, defaultPath),
		Authority: orDefault(request.Authority, defaultAuthority), Headers: wasmhost.Headers(request.Headers), Body: request.Body,
		Trailers: wasmhost.Headers(request.Trailers), Leave: time.Duration(request.Leave),
	}
	if err := s.Request.check(); err != nil {
		return fmt.Errorf("request.%w", err)
	}
	if err := s.Upstream.check(); err != nil {
		return fmt.Errorf("upstream.%w", err)
	}
	if fault := s.Upstream.Fault; fault != FaultNone && fault != FaultNever {
		return fmt.Errorf("upstream.fault: %s is for clusters; the upstream knows %s", fault, FaultNever)
	}
	if w := y.Want.Upstream.want; w != nil {
		want := w.request()
		s.Want.Upstream = &want
	}
	if w := y.Want.Response.want; w != nil {
		if w.Status != 0 && (w.Status < 100 || w.Status > 599) {
			return fmt.Errorf("want.response.status: %d is not between 100 and 599", w.Status)
		}
		s.Want.Response = &WantResponse{
			Status: w.Status, Headers: w.Headers.values(), Absent: lower(w.Absent), Body: w.Body, BodyContains: w.BodyContains,
			Varies: lower(w.Varies),
		}
	}
	return nil
}

// clusters gives what must have reached the clusters of a scenario.
func (y wantYAML) clusters(known []Cluster) (map[string]WantCallout, error) {
	var out map[string]WantCallout
	for name, w := range y.Clusters {
		if !slices.ContainsFunc(known, func(c Cluster) bool { return c.Name == name }) {
			return nil, fmt.Errorf("want.clusters: %s is not among the file's, which are %s", name, clusterNames(known))
		}
		if w.Times != nil && *w.Times < 0 {
			return nil, fmt.Errorf("want.clusters: %s: times: %d is less than none", name, *w.Times)
		}
		if out == nil {
			out = map[string]WantCallout{}
		}
		out[name] = w.want()
	}
	return out, nil
}

// check says what of a request cannot be sent as it stands.
func (r Request) check() error {
	if !strings.HasPrefix(r.Path, "/") || strings.ContainsAny(r.Path, "# \t\r\n\x00") {
		return fmt.Errorf("path: %q is not a path that HTTP sends (from / on, no spaces, no fragment)", r.Path)
	}
	if r.Method == "" || strings.ContainsAny(r.Method+r.Authority, " \t\r\n\x00") {
		return fmt.Errorf("method, authority: %q, %q cannot be sent in HTTP", r.Method, r.Authority)
	}
	if err := checkHeaders(r.Trailers); err != nil {
		return fmt.Errorf("trailers.%w", err)
	}
	return checkHeaders(r.Headers)
}

func (r Reply) check() error {
	if r.Status < 200 || r.Status > 599 {
		return fmt.Errorf("status: %d is not between 200 and 599", r.Status)
	}
	if !slices.Contains([]Fault{FaultNone, FaultNever, FaultReset, FaultCut, FaultUnreachable, FaultUnhealthy}, r.Fault) {
		return fmt.Errorf("fault: %q is none of %s, %s, %s, %s and %s", r.Fault, FaultNever, FaultReset, FaultCut, FaultUnreachable, FaultUnhealthy)
	}
	if err := checkHeaders(r.Trailers); err != nil {
		return fmt.Errorf("trailers.%w", err)
	}
	return checkHeaders(r.Headers)
}

func checkHeaders(hs wasmhost.Headers) error {
	for _, h := range hs {
		if strings.HasPrefix(h.Name, ":") || h.Name == "host" || h.Name == "content-length" || h.Name == "transfer-encoding" {
			return fmt.Errorf("headers: %s comes from the other fields; leave it out", h.Name)
		}
		if h.Name == "" || strings.ContainsAny(h.Value, "\r\n\x00") || strings.ContainsAny(h.Name, "\r\n\t\x00 :") {
			return fmt.Errorf("headers: %q cannot be sent in HTTP", h.Name)
		}
	}
	return nil
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func lower(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strings.ToLower(n)
	}
	return out
}

// configBytes is the configuration as the filter gets it: a string as it is, everything else as JSON, keys in the file's order.
func configBytes(n *yaml.Node) ([]byte, error) {
	switch {
	case n.IsZero():
		return nil, nil
	case n.Kind == yaml.ScalarNode && n.Tag == "!!str":
		return []byte(n.Value), nil
	}
	var b bytes.Buffer
	if err := appendJSON(&b, n, 0); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// maxDepth bounds the nesting of a configuration, and so YAML aliases that contain themselves.
const maxDepth = 100

func appendJSON(b *bytes.Buffer, n *yaml.Node, depth int) error {
	if depth > maxDepth || b.Len() > MaxFileSize {
		return errors.New("nested too deep, or too large")
	}
	switch n.Kind {
	case yaml.AliasNode:
		return appendJSON(b, n.Alias, depth+1)
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, e := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := appendJSON(b, e, depth+1); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			key, err := json.Marshal(n.Content[i].Value)
			if err != nil {
				return err
			}
			b.Write(key)
			b.WriteByte(':')
			if err := appendJSON(b, n.Content[i+1], depth+1); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	default:
		var v any
		if err := n.Decode(&v); err != nil {
			return err
		}
		if n.Tag == "!!timestamp" {
			v = n.Value
		}
		enc := json.NewEncoder(b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return err
		}
		b.Truncate(b.Len() - 1)
	}
	return nil
}
