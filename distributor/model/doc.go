// Package model holds waft's words as immutable types: releases, layers, rendered chains, nodes, rollouts, waves, gates,
// the ledger and the audit log, with the kinds of error that they can give and the rules that follow from the words alone:
//
//   - canonical.go: RFC 8785 canonical JSON, the base of every identity
//   - hash.go: what the hash of a release, a filter and a chain covers; Seal makes a release out of a draft
//   - resource.go, collection.go, validate_resource.go: messages of any type, by collection and name
//   - secret.go, keptsecret.go: how configurations name secrets, and what is known of those that the distributor keeps
//   - selector.go: label selectors, in Kubernetes' syntax
//   - reference.go: how a person names a release
//   - names.go, validate.go: what names, releases and rollout specs must be; errors name the field
//   - clone.go: copies that share nothing
//
// Values are plain data. A function that changes one returns a copy, so that a value can be shared by any number of
// goroutines as long as nobody writes to its maps and slices. Times are given by the caller; nothing here reads a clock.
//
// The package imports the standard library only. Everything else of the distributor imports it.
package model
