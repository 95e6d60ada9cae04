package main

// Config is the configuration of the filter metrics.
type Config struct {
	// Metrics are the metrics to keep.
	Metrics []Metric `json:"metrics" maxItems:"100"`
	// MaxSeries is the most combinations of tag values of each metric that names no bound of its own. 0 is 100.
	MaxSeries int `json:"maxSeries,omitempty" min:"0" max:"10000" default:"100"`
}

// Metric is a counter or a histogram. It counts each stream once, when the stream is complete.
type Metric struct {
	// Name is the metric's name: letters, digits and _, in parts separated by dots. Envoy shows it as wasmcustom.NAME. Names
	// that begin with waft. are taken.
	Name string `json:"name" minLength:"1" maxLength:"128"`
	// Type is the kind of the metric.
	Type string `json:"type" enum:"counter,histogram"`
	// Value is what is counted. one: 1, the default of counters. duration_ms and duration_us: how long the stream took, from
	// its first byte to its last; duration_ms is the default of histograms. request_bytes and response_bytes: the message
	// with its headers. request_body_bytes and response_body_bytes: its body alone.
	Value string `json:"value,omitempty" enum:"one,duration_ms,duration_us,request_bytes,request_body_bytes,response_bytes,response_body_bytes"`
	// Tags are the dimensions of the metric. Their order is their order in the metric's name.
	Tags []Tag `json:"tags,omitempty" maxItems:"10"`
	// MaxSeries is the most combinations of tag values of this metric. 0 or nothing is the filter's maxSeries. Streams with a combination over it are counted under one more, in which every tag is "other".
	MaxSeries int `json:"maxSeries,omitempty" min:"0" max:"10000"`
}

// Tag is a dimension of a metric.
type Tag struct {
	// Name is the tag's name: letters, digits and _.
	Name string `json:"name" minLength:"1" maxLength:"128"`
	// From is where the value comes from. requestHeader and responseHeader: the header named by key. property: Envoy's
	// property named by key. route: the name of the route. code: the response code. codeClass: the response code as 2xx.
	// method: the request's method, one that HTTP does not define counting as "other".
	From string `json:"from" enum:"requestHeader,responseHeader,property,route,code,codeClass,method"`
	// Key is the header's name or the property's path.
	Key string `json:"key,omitempty"`
	// Default is the value when there is none. Nothing is "none".
	Default string `json:"default,omitempty" default:"none"`
	// Values are the values to tell apart, if there are any; every other value is "other".
	Values []string `json:"values,omitempty" maxItems:"1000"`
}
