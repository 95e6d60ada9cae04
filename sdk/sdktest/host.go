package sdktest

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/internal/abi"
)

// Names of the log levels, by their numbers.
var levelNames = [...]string{"trace", "debug", "info", "warn", "error", "critical"}

// host is an abi.Calls in memory.
type host struct {
	env        map[string]string
	properties map[string][]byte
	config     []byte
	now        time.Time
	level      abi.LogLevel

	logs    []string
	metrics []*metric

	// stream is the one whose callback runs, nil during those of the plugin; streams are those that are open.
	stream  *stream
	streams map[uint32]*stream

	clusters     map[string]func(sdk.FetchRequest) (*sdk.FetchResponse, error)
	grpcClusters map[string]func(sdk.GRPCRequest) ([]byte, error)
	foreign      map[string]func([]byte) []byte
	callouts     []*callout
	lastToken    uint32
	// answer is what the callback of a callout shows.
	answer *calloutAnswer
	// ended: the plugin has said that it is done.
	ended bool

	tickPeriod time.Duration
	nextTick   time.Time

	shared  map[string]sharedValue
	lastCAS uint32
	queues  []*queue
}

var _ abi.Calls = (*host)(nil)

// metric is a metric and what it was given.
type metric struct {
	kind    abi.MetricType
	name    string
	value   uint64
	samples []uint64
}

// mapState says what may be done with a header map in the event that runs.
type mapState uint8

const (
	mapHidden mapState = iota
	mapReadable
	mapWritable
)

// stream is what the host holds of a stream.
type stream struct {
	id         uint32
	maps       [4][]sdk.Header
	access     [4]mapState
	properties map[string][]byte

	body     []byte
	bodyKind abi.BufferType
	bodyOpen bool

	local     *localReply
	reset     bool
	continued bool
	done      bool
	requested time.Time
}

// localReply is the answer that a filter gave.
type localReply struct {
	status  int
	details string
	body    string
	headers []sdk.Header
}

func (h *host) Getenv(name string) string { return h.env[name] }

func (h *host) Log(level abi.LogLevel, message string) abi.Status {
	if int(level) >= len(levelNames) {
		return abi.BadArgument
	}
	if level >= h.level {
		h.logs = append(h.logs, levelNames[level]+": "+message)
	}
	return abi.OK
}

func (h *host) LogLevel() (abi.LogLevel, abi.Status) { return h.level, abi.OK }

func (h *host) Now() (uint64, abi.Status) { return uint64(h.now.UnixNano()), abi.OK }

func (h *host) GetProperty(path string) ([]byte, abi.Status) {
	path = strings.ReplaceAll(path, "\x00", ".")
	if h.stream != nil {
		if value, ok := h.stream.property(path, h.now); ok {
			return value, abi.OK
		}
	}
	if value, ok := h.properties[path]; ok {
		return value, abi.OK
	}
	return nil, abi.NotFound
}

func (h *host) SetProperty(path string, value []byte) abi.Status {
	if h.stream == nil {
		return abi.NotFound
	}
	h.stream.properties[path] = slices.Clone(value)
	return abi.OK
}

// buffer is the buffer that the event shows, nil when it shows none.
func (h *host) buffer(kind abi.BufferType) *[]byte {
	switch {
	case kind == abi.PluginConfiguration:
		return &h.config
	case h.answer != nil:
		if data, ok := h.answer.bytes[kind]; ok {
			return &data
		}
	}
	switch {
	case h.stream != nil && h.stream.bodyOpen && h.stream.bodyKind == kind:
		return &h.stream.body
	}
	return nil
}

func (h *host) GetBuffer(kind abi.BufferType, start, length int) ([]byte, abi.Status) {
	buffer := h.buffer(kind)
	if buffer == nil {
		return nil, abi.NotFound
	}
	data := *buffer
	if start >= len(data) {
		return nil, abi.OK
	}
	return data[start:min(len(data), start+length)], abi.OK
}

func (h *host) BufferSize(kind abi.BufferType) (int, abi.Status) {
	buffer := h.buffer(kind)
	if buffer == nil {
		return 0, abi.NotFound
	}
	return len(*buffer), abi.OK
}

func (h *host) SetBuffer(kind abi.BufferType, start, length int, data []byte) abi.Status {
	buffer := h.buffer(kind)
	switch {
	case buffer == nil:
		return abi.NotFound
	case kind == abi.PluginConfiguration:
		return abi.BadArgument
	case start == 0:
		*buffer = slices.Concat(data, (*buffer)[min(length, len(*buffer)):])
	case start >= len(*buffer):
		*buffer = append(*buffer, data...)
	default:
		return abi.BadArgument
	}
	return abi.OK
}

// readable is a map that the event shows.
func (h *host) readable(m abi.MapType) (*[]sdk.Header, bool) {
	if h.answer != nil {
		if headers, ok := h.answer.maps[m]; ok {
			return &headers, true
		}
	}
	if h.stream == nil || int(m) >= len(h.stream.maps) || h.stream.access[m] == mapHidden {
		return nil, false
	}
	return &h.stream.maps[m], true
}

// writable is a map that the event may change.
func (h *host) writable(m abi.MapType) (*[]sdk.Header, bool) {
	headers, ok := h.readable(m)
	return headers, ok && int(m) < len(h.stream.access) && h.stream.access[m] == mapWritable
}

// HeaderPairs is empty for a map that the event does not show, as in Envoy.
func (h *host) HeaderPairs(m abi.MapType) ([]byte, abi.Status) {
	headers, ok := h.readable(m)
	if !ok {
		return nil, abi.OK
	}
	return abi.AppendPairs(nil, *headers), abi.OK
}

func (h *host) HeaderValue(m abi.MapType, name string) (string, abi.Status) {
	headers, ok := h.readable(m)
	if !ok {
		return "", abi.BadArgument
	}
	for _, p := range *headers {
		if strings.EqualFold(p.Name, name) {
			return p.Value, abi.OK
		}
	}
	return "", abi.NotFound
}

func (h *host) SetHeaderPairs(m abi.MapType, pairs []byte) abi.Status {
	headers, ok := h.writable(m)
	if !ok {
		return abi.BadArgument
	}
	parsed, err := abi.ParsePairs(nil, string(pairs))
	if err != nil {
		return abi.SerializationFailure
	}
	*headers = lowered(parsed)
	return abi.OK
}

func (h *host) AddHeader(m abi.MapType, name, value string) abi.Status {
	headers, ok := h.writable(m)
	if !ok {
		return abi.BadArgument
	}
	*headers = append(*headers, sdk.Header{Name: strings.ToLower(name), Value: value})
	return abi.OK
}

func (h *host) ReplaceHeader(m abi.MapType, name, value string) abi.Status {
	headers, ok := h.writable(m)
	if !ok {
		return abi.BadArgument
	}
	set := false
	for i := 0; i < len(*headers); i++ {
		if !strings.EqualFold((*headers)[i].Name, name) {
			continue
		}
		if set {
			*headers = slices.Delete(*headers, i, i+1)
			i--
			continue
		}
		(*headers)[i].Value, set = value, true
	}
	if !set {
		return h.AddHeader(m, name, value)
	}
	return abi.OK
}

func (h *host) RemoveHeader(m abi.MapType, name string) abi.Status {
	headers, ok := h.writable(m)
	if !ok {
		return abi.BadArgument
	}
	*headers = slices.DeleteFunc(*headers, func(p sdk.Header) bool { return strings.EqualFold(p.Name, name) })
	return abi.OK
}

func (h *host) SendLocalResponse(status uint32, details string, body []byte, headers []byte, _ int32) abi.Status {
	if h.stream == nil || h.stream.done || h.stream.local != nil {
		return abi.BadArgument
	}
	parsed, err := abi.ParsePairs(nil, string(headers))
	if err != nil {
		return abi.SerializationFailure
	}
	h.stream.local = &localReply{status: int(status), details: details, body: string(body), headers: lowered(parsed)}
	return abi.OK
}

func (h *host) ContinueStream(abi.StreamType) abi.Status {
	if h.stream == nil {
		return abi.BadArgument
	}
	h.stream.continued = true
	return abi.OK
}

func (h *host) SetEffectiveContext(id uint32) abi.Status {
	s, ok := h.streams[id]
	if !ok && id != pluginID {
		return abi.BadArgument
	}
	h.stream = s
	return abi.OK
}

func (h *host) HeaderMapSize(m abi.MapType) (int, abi.Status) {
	size := 0
	if headers, ok := h.readable(m); ok {
		for _, p := range *headers {
			size += len(p.Name) + len(p.Value)
		}
	}
	return size, abi.OK
}

func (h *host) CloseStream(abi.StreamType) abi.Status {
	if h.stream == nil || h.stream.done {
		return abi.BadArgument
	}
	h.stream.reset = true
	return abi.OK
}

// DefineMetric gives a new id for each definition, as Envoy does; definitions of one name share what they count.
func (h *host) DefineMetric(kind abi.MetricType, name string) (uint32, abi.Status) {
	m := h.metric(name)
	if m == nil {
		m = &metric{kind: kind, name: name}
	} else if m.kind != kind {
		return 0, abi.BadArgument
	}
	h.metrics = append(h.metrics, m)
	return uint32(len(h.metrics) - 1), abi.OK
}

func (h *host) metric(name string) *metric {
	for _, m := range h.metrics {
		if m.name == name {
			return m
		}
	}
	return nil
}

func (h *host) IncrementMetric(id uint32, offset int64) abi.Status {
	if int(id) >= len(h.metrics) {
		return abi.NotFound
	}
	m := h.metrics[id]
	if m.kind == abi.Histogram || (m.kind == abi.Counter && offset < 0) {
		return abi.BadArgument
	}
	m.value += uint64(offset)
	return abi.OK
}

func (h *host) RecordMetric(id uint32, value uint64) abi.Status {
	if int(id) >= len(h.metrics) {
		return abi.NotFound
	}
	switch m := h.metrics[id]; m.kind {
	case abi.Gauge:
		m.value = value
	case abi.Histogram:
		m.samples = append(m.samples, value)
	default:
		return abi.BadArgument
	}
	return abi.OK
}

func (h *host) GetMetric(id uint32) (uint64, abi.Status) {
	if int(id) >= len(h.metrics) {
		return 0, abi.NotFound
	}
	if h.metrics[id].kind == abi.Histogram {
		return 0, abi.BadArgument
	}
	return h.metrics[id].value, abi.OK
}

// property is what the host knows of the stream: what the test gave, else what follows from the request.
func (s *stream) property(path string, now time.Time) ([]byte, bool) {
	if value, ok := s.properties[path]; ok {
		return value, true
	}
	header := func(m abi.MapType, name string) ([]byte, bool) {
		if s.access[m] == mapHidden {
			return nil, false
		}
		values := valuesOf(s.maps[m], name)
		return []byte(strings.Join(values, ",")), len(values) > 0
	}
	if name, ok := strings.CutPrefix(path, "request.headers."); ok {
		return header(abi.RequestHeaders, name)
	}
	if name, ok := strings.CutPrefix(path, "response.headers."); ok {
		return header(abi.ResponseHeaders, name)
	}
	switch path {
	case "request.path":
		return header(abi.RequestHeaders, ":path")
	case "request.url_path":
		value, ok := header(abi.RequestHeaders, ":path")
		path, _, _ := strings.Cut(string(value), "?")
		return []byte(path), ok
	case "request.method":
		return header(abi.RequestHeaders, ":method")
	case "request.host":
		return header(abi.RequestHeaders, ":authority")
	case "request.scheme":
		return header(abi.RequestHeaders, ":scheme")
	case "request.time":
		return encodeProperty(s.requested), true
	case "request.duration":
		return encodeProperty(now.Sub(s.requested)), s.done
	case "response.code":
		status := (&Message{Headers: s.maps[abi.ResponseHeaders]}).Status()
		return encodeProperty(status), status != 0
	}
	return nil, false
}

// encodeProperty encodes a value as Envoy does.
func encodeProperty(value any) []byte {
	word := func(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }
	switch v := value.(type) {
	case string:
		return []byte(v)
	case []byte:
		return slices.Clone(v)
	case bool:
		if v {
			return []byte{1}
		}
		return []byte{0}
	case int:
		return word(uint64(v))
	case int64:
		return word(uint64(v))
	case uint64:
		return word(v)
	case float64:
		return word(math.Float64bits(v))
	case time.Duration:
		return word(uint64(v))
	case time.Time:
		return word(uint64(v.UnixNano()))
	}
	panic("sdktest: a property must be a string, []byte, bool, int, int64, uint64, float64, time.Duration or time.Time")
}

func lowered(headers []sdk.Header) []sdk.Header {
	out := slices.Clone(headers)
	for i := range out {
		out[i].Name = strings.ToLower(out[i].Name)
	}
	return out
}
