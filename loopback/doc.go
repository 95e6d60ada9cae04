// Package loopback finds addresses of this machine for servers that bind them later, or bind them again after they have ended: Envoys, members of
// etcd and agents, in the demo and in tests. Who binds at once and for good asks the system, with port 0.
//
// It imports the standard library only.
package loopback
