// Package dev runs a filter in a real Envoy while its author works on it: saved source is rebuilt and swapped in, and logs,
// metrics and requests are shown. It is `waft dev` as a library.
//
// Flow: Run builds the filter, starts servers for the upstream and for clusters, and an Envoy with waft's slot; then it looks at
// the source (snapshot), rebuilds what changed, has Envoy load the module in the slot that serves nobody, and swaps it into the
// slot that serves, as the agent does. What Envoy writes goes through a screen, which shows what is of interest.
//
// Invariants: a build that fails, and a module or configuration that Envoy refuses, leave the last good one serving. Run leaves
// nothing behind: no process, no listener, no file.
//
// It must not import anything of the distributor or the registry.
package dev
