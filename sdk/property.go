package sdk

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// Properties are what Envoy knows of a stream, its connection, route, cluster and node. A path names one, its elements
// separated by dots: "request.duration", "source.address", "xds.route_name",
// "xds.route_metadata.filter_metadata". [PropertyPath] makes a path of elements that hold dots themselves. Envoy's
// attributes are listed at https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes.
//
// What belongs to the request (request.path, request.headers) Envoy shows in OnRequestHeaders and OnStreamDone only; a
// node's properties are under xds.node. The route is xds.route_name: the bare names route_name and cluster_name are not
// there since Envoy 1.36.
//
// A property that is not there is a [*HostError] with [ErrNotFound]; one that has another type than asked for,
// [ErrParseFailure]. Each read is a host call.
type Properties struct {
	host abi.Host
	// stream is the one whose properties they are; those of a plugin have none.
	stream *Stream
}

// PropertyPath joins the elements of a property's path, of which some may hold dots.
func PropertyPath(elements ...string) string { return strings.Join(elements, "\x00") }

// wirePath is a path as the ABI has it. One that holds NUL is so already.
func wirePath(path string) string {
	if strings.IndexByte(path, 0) >= 0 || strings.IndexByte(path, '.') < 0 {
		return path
	}
	return strings.ReplaceAll(path, ".", "\x00")
}

func (p Properties) get(path string) ([]byte, error) {
	if p.stream != nil && !p.stream.own() {
		return nil, wrap("get property "+path, ErrOtherStream)
	}
	value, status := p.host.GetProperty(wirePath(path))
	if status != abi.OK {
		return nil, hostError(status, "get property", path)
	}
	return value, nil
}

// Bytes is a property as the host encodes it. The slice is the caller's, and never nil without an error.
func (p Properties) Bytes(path string) ([]byte, error) {
	value, err := p.get(path)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, value...), nil
}

// String is a property of type string or bytes. An empty one is empty, without an error.
func (p Properties) String(path string) (string, error) {
	value, err := p.get(path)
	return string(value), err
}

// Int64 is a property of type int or uint, such as response.code and request.size. Above 2^63-1 it is ErrParseFailure.
func (p Properties) Int64(path string) (int64, error) {
	value, err := p.word(path)
	return int64(value), err
}

// Duration is a property of type duration, such as request.duration.
func (p Properties) Duration(path string) (time.Duration, error) {
	value, err := p.word(path)
	return time.Duration(value), err
}

// Time is a property of type timestamp, such as request.time.
func (p Properties) Time(path string) (time.Time, error) {
	value, err := p.word(path)
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(0, int64(value)), nil
}

// Float64 is a property of type double.
func (p Properties) Float64(path string) (float64, error) {
	value, err := p.word(path)
	return math.Float64frombits(value), err
}

// Bool is a property of type bool, such as connection.mtls.
func (p Properties) Bool(path string) (bool, error) {
	value, err := p.get(path)
	if err != nil {
		return false, err
	}
	if len(value) != 1 {
		return false, hostError(abi.ParseFailure, "read as a bool the property", path)
	}
	return value[0] != 0, nil
}

// Map is a property of type map whose values are strings, such as request.headers; its entries come in no useful order.
func (p Properties) Map(path string) ([]Header, error) {
	value, err := p.get(path)
	if err != nil {
		return nil, err
	}
	pairs, err := abi.ParsePairs(nil, string(value))
	if err != nil {
		return nil, hostError(abi.ParseFailure, "read as a map the property", path)
	}
	return pairs, nil
}

// Text is a property as text. A number is decimal, a boolean true or false, a duration in whole milliseconds, a time in RFC
// 3339 with nanoseconds in UTC. Which of them a property is the host does not say: for Envoy's attributes this package knows,
// and everything else counts as a string.
func (p Properties) Text(path string) (string, error) {
	switch attributeType(path) {
	case attributeInt:
		v, err := p.Int64(path)
		if err != nil {
			return "", err
		}
		return strconv.FormatInt(v, 10), nil
	case attributeBool:
		v, err := p.Bool(path)
		if err != nil {
			return "", err
		}
		return strconv.FormatBool(v), nil
	case attributeDuration:
		v, err := p.Duration(path)
		if err != nil {
			return "", err
		}
		return strconv.FormatInt(v.Milliseconds(), 10), nil
	case attributeTime:
		v, err := p.Time(path)
		if err != nil {
			return "", err
		}
		return v.UTC().Format(time.RFC3339Nano), nil
	}
	return p.String(path)
}

type attribute uint8

const (
	attributeString attribute = iota
	attributeInt
	attributeBool
	attributeDuration
	attributeTime
)

// attributeType is the type of those of Envoy's attributes that are no strings.
func attributeType(path string) attribute {
	switch strings.ReplaceAll(path, "\x00", ".") {
	case "request.size", "request.total_size", "response.code", "response.size", "response.total_size",
		"response.grpc_status", "response.flags", "source.port", "destination.port", "upstream.port", "connection.id",
		"upstream.request_attempt_count", "listener_direction", "xds.listener_direction":
		return attributeInt
	case "connection.mtls":
		return attributeBool
	case "request.duration", "response.backend_latency":
		return attributeDuration
	case "request.time":
		return attributeTime
	}
	return attributeString
}

// Set sets a property of the stream, which later filters and the access log read as the filter state wasm.NAME. The name is
// one element, without dots; Envoy refuses the names that it uses itself.
func (p Properties) Set(name string, value []byte) error {
	if name == "" || strings.ContainsAny(name, ".\x00") {
		return wrap("set property "+strconv.Quote(name)+": the name must be one element without dots", ErrBadArgument)
	}
	if p.stream != nil && !p.stream.own() {
		return wrap("set property "+name, ErrOtherStream)
	}
	return hostError(p.host.SetProperty(name, value), "set property", name)
}

// word is a property of eight bytes, little endian.
func (p Properties) word(path string) (uint64, error) {
	value, err := p.get(path)
	if err != nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, hostError(abi.ParseFailure, "read as a number the property", path)
	}
	return binary.LittleEndian.Uint64(value), nil
}
