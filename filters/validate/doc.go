// Command validate is the filter that lets requests pass whose body fits a JSON Schema. README.md documents its configuration.
//
// # Flow
//
// config.go is the configuration. schema.go compiles its schemas, once, with github.com/santhosh-tekuri/jsonschema. decode.go
// reads bodies, more strictly than most upstreams do. filter.go holds a body, and decides.
//
// # Invariants
//
// What upstreams could read in different ways, such as a field that is there twice, does not pass. No schema is ever fetched.
// Values of bodies are never logged.
//
// It imports package sdk, the library for JSON Schema and the standard library only.
package main
