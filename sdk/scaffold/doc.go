// Package scaffold makes the source of a new filter from a template: a package main with its configuration, a Go test of its
// logic, scenarios, and a README, which builds and passes its tests as it is. It is `waft new` as a library.
//
// Flow: New finds out which Go module the folder is to belong to, renders the template into a temporary folder beside the
// final one, has the go command resolve the imports where the filter gets a module of its own, and renames the folder into
// place. A New that fails leaves nothing behind.
//
// Invariants: nothing that exists is overwritten, and no go.mod but the filter's own is changed.
//
// It must not import anything of the distributor or the registry.
package scaffold
