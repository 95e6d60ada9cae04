// Command fanout measures what it costs to bring a change to every node at once: of waft's servers, in each dialect, and of go-control-plane's snapshot cache
// and server beside them, in the same run. The server is a process of its own (tools/fanoutserver, which is either), this one is the nodes: each has a
// connection with mutual TLS and one stream on it. It prints a table and the targets, and writes bench/out/fanout.json.
//
// A change is made in the server, which says when; a node's time is from then until it has written its ACK, by the clock of the machine that both share.
//
// Then come the extremes, of waft alone: a large resource, a fleet that does nothing, and one that connects at once.
package main
