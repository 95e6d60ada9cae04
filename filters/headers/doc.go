// Command headers is the filter that changes the headers of requests and responses: it adds, sets, appends, removes and
// renames them, with values from templates, on conditions of path and header. README.md documents its configuration.
//
// # Flow
//
// config.go is the configuration. compile.go checks it and turns it into mutations, whose templates (template.go) and
// conditions (condition.go) are parsed once. filter.go applies them to each message, in order.
//
// # Invariants
//
// A mutation never leaves a value in place that it was told to overwrite: where the new value is empty or cannot be sent,
// set removes the header. The filter never answers a request itself.
//
// It imports package sdk and the standard library only.
package main
