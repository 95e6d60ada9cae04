// Package keytable keeps a few numbers for each of many keys, for all workers of an Envoy together, in a table of fixed size.
//
// Shared data cannot be deleted, so keys from outside must not name values there. A key is hashed to a set of slots; each set is one value,
// changed by compare-and-set. The hash is keyed with a secret of this Envoy, so that nobody outside can choose keys that
// meet. When a set is full, the key goes whose numbers mean something for the shortest time; or, of keys that must not be lost, the new one
// is refused.
//
// It imports package sdk and the standard library only.
package keytable
