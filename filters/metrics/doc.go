// Command metrics is the filter that keeps counters and histograms of requests, as its configuration defines them, with tags
// from headers, the route, the response code and Envoy's properties. README.md documents its configuration.
//
// # Flow
//
// config.go is the configuration. compile.go checks it and turns it into definitions (tag.go, value.go). When a stream is
// complete, filter.go takes the tags and the value of each definition, and series.go finds the metric that has those tags.
//
// # Invariants
//
// The number of metrics is bounded whatever clients send: a combination of tags over the bound is counted under "other".
// Counting never changes a message, and costs no allocation once a combination is known, but for what reading tags costs.
//
// It imports package sdk and the standard library only.
package main
