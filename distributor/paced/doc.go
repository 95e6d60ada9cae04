// Package paced bounds how many requests a node has read, whatever dialect it speaks: one that asks faster is read from later, and goes on being sent what changes.
//
// It says for how long; whoever reads a stream waits. The package imports nothing of the project.
package paced
