// Package model holds waft's words as immutable types: releases, layers, rendered chains, nodes, rollouts, waves, gates,
// the ledger and the audit log, with the kinds of error that they can give.
//
// Values are plain data. A function that changes one returns a copy, so that a value can be shared by any number of
// goroutines. Times are given by the caller; nothing here reads a clock.
//
// The package imports the standard library only. Everything else of the distributor imports it.
package model
