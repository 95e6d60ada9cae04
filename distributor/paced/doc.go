// Package paced bounds how many requests a node has read, whatever dialect it speaks: one that asks faster is read from later, and goes on being sent what changes.
//
// A stream that begins waits for its turn; whoever reads one that goes on reads later by as much as its turn says. The package imports nothing of the project.
package paced
