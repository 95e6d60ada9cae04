// Package compare says what changed between two versions of a filter, and which change of its configuration's schema can break a configuration
// that exists. It is pure: Versions decides by two values, and whoever calls it gathers them, from files or from a registry.
//
// It must not import the registry or the distributor.
package compare
