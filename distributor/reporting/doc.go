// Package reporting keeps the report stream of a node to its distributor: agents and applications say on it how far they have come with what they were given, and hear how
// often statistics are wanted and what a person asked for.
//
// What there is to say is the caller's, and so is what is said again on a new stream (Sayer). The package opens the stream, and again for ever, says what is due, keeps the
// interval of statistics, and keeps what must be told once however many distributors stop before they have taken it: that what the node runs was restarted.
//
// It imports the generated API, and nothing else of the project.
package reporting
