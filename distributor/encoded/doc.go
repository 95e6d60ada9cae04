// Package encoded sends messages whose encoding is known already, in part or whole, so that what goes to thousands of nodes is in memory once: a Message has
// its bytes as parts, some of which other messages share, and Codec hands them to gRPC as they are. Nothing is copied before it is written to a connection.
//
// The package imports nothing else of the project.
package encoded
