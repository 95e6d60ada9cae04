package service

import "context"

// replicaKey is the key in a context of the replica that a call has come by.
type replicaKey struct{}

// ByReplica says that what is called with the context has come by another replica, of that name: it vouches for the node whose stream it is.
func ByReplica(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, replicaKey{}, name)
}

// replicaOf is that replica; empty: it has come by none.
func replicaOf(ctx context.Context) string {
	name, _ := ctx.Value(replicaKey{}).(string)
	return name
}
