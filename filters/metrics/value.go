package main

import "github.com/waft-project/waft/sdk"

// What a metric counts, as in the configuration.
const (
	valueOne               = "one"
	valueDurationMs        = "duration_ms"
	valueDurationUs        = "duration_us"
	valueRequestBytes      = "request_bytes"
	valueRequestBodyBytes  = "request_body_bytes"
	valueResponseBytes     = "response_bytes"
	valueResponseBodyBytes = "response_body_bytes"
)

// measure is what a stream counts, and false when the host does not know it: then it is not counted.
func measure(value string, s *sdk.Stream) (uint64, bool) {
	path := ""
	switch value {
	case valueOne:
		return 1, true
	case valueDurationMs, valueDurationUs:
		return duration(value, s)
	case valueRequestBytes:
		path = "request\x00total_size"
	case valueRequestBodyBytes:
		path = "request\x00size"
	case valueResponseBytes:
		path = "response\x00total_size"
	case valueResponseBodyBytes:
		path = "response\x00size"
	}
	n, err := s.Properties().Int64(path)
	return uint64(n), err == nil && n >= 0
}

// duration is how long a stream took. Envoy measures it from the first byte received to the last byte sent.
func duration(value string, s *sdk.Stream) (uint64, bool) {
	took, err := s.Properties().Duration("request\x00duration")
	if err != nil || took < 0 {
		return 0, false
	}
	if value == valueDurationUs {
		return uint64(took.Microseconds()), true
	}
	return uint64(took.Milliseconds()), true
}
