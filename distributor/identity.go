package distributor

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"net/http"
	"sync"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/model"
)

// certified is who a connection is of, by its certificate; nobody where there is none, or where TLS is off. TLS has verified it by the authorities of
// TLS.ClientCA.
func certified(state *tls.ConnectionState) (access.Identity, error) {
	if state == nil || len(state.VerifiedChains) == 0 {
		return access.Identity{}, nil
	}
	id, err := access.OfCertificate(state.VerifiedChains[0][0])
	if err != nil {
		return access.Identity{}, unauthenticated(err.Error(), "have another one issued", err)
	}
	return id, nil
}

// calling is who makes a gRPC call from outside: whoever a token in its metadata is of, else whoever the connection is of. A token that does not count is
// an error, and not nothing: who shows one means to be its person.
func (p *permissions) calling(ctx context.Context) (access.Identity, error) {
	if values := metadata.ValueFromIncomingContext(ctx, authorizationKey); len(values) > 0 {
		if len(values) > 1 {
			return access.Identity{}, unauthenticated("the call has several authorizations", "send one", nil)
		}
		return p.bearing(ctx, values[0])
	}
	from, ok := peer.FromContext(ctx)
	if !ok {
		return access.Identity{}, nil
	}
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return access.Identity{}, nil
	}
	return certified(&info.State)
}

// requesting is who makes an HTTP request, as with calling.
func (p *permissions) requesting(r *http.Request) (access.Identity, error) {
	if values := r.Header.Values(authorizationKey); len(values) > 0 {
		if len(values) > 1 {
			return access.Identity{}, unauthenticated("the request has several authorizations", "send one", nil)
		}
		return p.bearing(r.Context(), values[0])
	}
	return certified(r.TLS)
}

func unauthenticated(message, next string, cause error) error {
	return &model.Error{Kind: model.ErrUnauthenticated, Message: message, Next: next, Cause: cause}
}

// identityKey is the key in a context of who asks.
type identityKey struct{}

func withIdentity(ctx context.Context, id access.Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// identityOf is who asks, as far as a port has put it into the context; else nobody.
func identityOf(ctx context.Context) access.Identity {
	id, _ := ctx.Value(identityKey{}).(access.Identity)
	return id
}

// tickets carry who asks from the HTTP port to the gRPC server inside the process, which sees REST requests only as calls of the gateway. A ticket is
// good for as long as its request is served, and nobody outside can know it. It may be used concurrently.
type tickets struct{ identities sync.Map }

// ticketMetadata is where a call of the gateway has its ticket. Headers of clients do not become this: the gateway passes on none but the actor's.
const ticketMetadata = "waft-ticket"

// ticketKey is the key of a ticket in a request's context.
type ticketKey struct{}

// issue gives the request a ticket, which done takes back.
func (t *tickets) issue(r *http.Request, id access.Identity) (_ *http.Request, done func()) {
	ticket := rand.Text()
	t.identities.Store(ticket, id)
	return r.WithContext(context.WithValue(r.Context(), ticketKey{}, ticket)), func() { t.identities.Delete(ticket) }
}

// onTicket is the metadata of the call that a request becomes.
func onTicket(ctx context.Context, _ *http.Request) metadata.MD {
	ticket, ok := ctx.Value(ticketKey{}).(string)
	if !ok {
		return nil
	}
	return metadata.Pairs(ticketMetadata, ticket)
}

// redeem is who makes a call inside the process.
func (t *tickets) redeem(ctx context.Context) (access.Identity, error) {
	for _, ticket := range metadata.ValueFromIncomingContext(ctx, ticketMetadata) {
		if id, ok := t.identities.Load(ticket); ok {
			return id.(access.Identity), nil
		}
	}
	return access.Identity{}, nil
}
