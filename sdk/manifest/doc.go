// Package manifest holds what waft knows about a module without loading it: its name and version, its digest, what it
// imports, which Envoy versions can load it, and the JSON Schema of its configuration.
//
// sdk/build writes a manifest beside each module (dist/NAME.json); registry carries its bytes, unread, as an OCI referrer of
// the artifact; the distributor reads it to validate configurations and to keep a module away from an Envoy that cannot
// load it.
//
// A manifest comes from outside, so Decode is strict: unknown, repeated and missing fields, values out of range and
// documents over the limits are errors that name the field. The same Manifest always encodes to the same bytes.
//
// The package imports the standard library only: filters, servers and tools of others may use it at no cost.
package manifest
