// Package e2e tests the built program from outside: real processes, real Envoys, real protocols, and faults. It holds tests
// only; the fleet that they run is package demo/fleet's, the filters under filters/ are theirs.
package e2e
