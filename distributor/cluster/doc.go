// Package cluster lets several distributors be one: it elects the leader by etcd, knows which replicas there are, and carries calls from the replica that
// a client has reached to the one that leads.
//
// # Flow
//
// Each replica holds one lease in etcd. Under it stand its Replica, which says where others reach it and by which certificate, and its candidacy for
// the leadership. Member keeps both, watches those of the others, and runs what a leader runs while this replica leads. Peers is the way from one replica to
// another: TLS by which both ends know each other by the certificates that stand in etcd, HTTP/2 for gRPC and HTTP/1.1 for the rest on one port. Relay takes
// whole gRPC calls of any kind across, message by message, without reading them; Calls answers them at the other end.
//
// # Invariants
//
//   - Whoever may write to etcd may vouch for a replica, and nobody else: a replica's key never leaves its process, and there is a new one for each life.
//   - A leader whose lease has ended runs nothing any more, by its own clock; what it has under way then cannot be written (store.Fence).
//   - A call takes one step: a replica that does not lead does not pass on what came from another.
//   - Who makes a call is found out where the client has connected, and said to the leader, which decides again.
//
// # Imports
//
// The package imports model, etcd's client and gRPC. It knows no service of the API.
package cluster
