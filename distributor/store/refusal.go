package store

import (
	"context"
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/model"
)

// everything is where all keys are: the state's, those beside it, and those of running replicas.
const everything = "/waft/"

// errConnection is the code that connected gives to an error for which no connection came about. etcd's own errors do not have it without being in its list.
const errConnection = codes.FailedPrecondition

// connected says of a call that was not made for want of a connection why there was none. etcd's client waits for a connection for as long as its caller does, and
// says only that this was not long enough.
func connected(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if s, ok := status.FromError(err); ok && s.Code() != codes.OK && ofHandshake(s.Message()) {
		return status.Error(errConnection, s.Message())
	}
	return err
}

// ofHandshake says whether the words of a connection's error are those of TLS, which waiting does not mend.
func ofHandshake(words string) bool {
	return strings.Contains(words, "x509: ") || strings.Contains(words, "tls: ") || strings.Contains(words, closedInstead)
}

// closedInstead is what a member without TLS does with a handshake.
const closedInstead = "authentication handshake failed: EOF"

// unconnected says whether an error is one that connected has made.
func unconnected(err error) bool {
	return status.Code(err) == errConnection && ofHandshake(err.Error())
}

// Explain gives, for what etcd or a connection to it refuses whoever this client is, an error that says what to do; any other error as it is.
func Explain(err error) error {
	if refused := refusal(err); refused != nil {
		return refused
	}
	return err
}

// refusal is nil for what is none.
func refusal(err error) *model.Error {
	// Who calls waft is not to blame for it, so that to them the store is away.
	out := &model.Error{Kind: model.ErrUnavailable, Object: "etcd", Cause: err}
	switch said := rpctypes.Error(err); {
	case err == nil:
		return nil
	case errors.Is(said, rpctypes.ErrAuthFailed):
		out.Message, out.Next = "it knows no such user, or the password is another one", "check --etcd-user and the file of --etcd-password-file; one that was changed counts after a restart"
	case errors.Is(said, rpctypes.ErrUserEmpty), errors.Is(said, rpctypes.ErrUserNotFound):
		out.Message = "it asks for a user, and none is named that it knows"
		out.Next = "name one (--etcd-user, --etcd-password-file), or show a certificate whose common name is the user's (--etcd-cert, --etcd-key)"
	case errors.Is(said, rpctypes.ErrPermissionDenied):
		out.Message = "it does not let this user read and write all that is below " + everything
		out.Next = "give the user of --etcd-user, or else of the common name of the certificate, a role that may: etcdctl role grant-permission ROLE readwrite --prefix=true " + everything
	case !unconnected(err):
		return nil
	case strings.Contains(err.Error(), "remote error: tls: "):
		out.Message = "it does not take the certificate of this client: " + words(err)
		out.Next = "show one that its authorities vouch for, for use by clients, and that has not ended (--etcd-cert, --etcd-key)"
	case strings.Contains(err.Error(), closedInstead), strings.Contains(err.Error(), "first record does not look like a TLS handshake"):
		out.Message, out.Next = "it does not speak TLS, or closes connections before that", "write http:// where its members have no TLS (--etcd)"
	case strings.Contains(err.Error(), "x509: certificate is valid for "), strings.Contains(err.Error(), "x509: cannot validate certificate for "), strings.Contains(err.Error(), "x509: certificate is not valid for any names"):
		out.Message = "the certificate of a member is not for the name by which it is called: " + words(err)
		out.Next = "call the members by names that their certificates have (--etcd)"
	default:
		out.Message = "the certificate of a member is not taken: " + words(err)
		out.Next = "name the authorities that vouch for the members (--etcd-ca), and see that their certificates have not ended"
	}
	return out
}

// words are those of TLS, at the end of what gRPC says of a connection.
func words(err error) string {
	text := err.Error()
	for _, from := range [...]string{"x509: ", "tls: "} {
		if at := strings.LastIndex(text, from); at >= 0 {
			return strings.TrimRight(text[at:], `"\`)
		}
	}
	return text
}

// Refused asks etcd whether it takes this client, which may then read and write all that it has to, and writes nothing. The error is one of Explain's; nil also
// where nobody has answered in time, who may yet.
func Refused(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	// etcd asks what a transaction needs in either case, before it looks which one there is; no key has been created before the first revision.
	never := clientv3.Compare(clientv3.CreateRevision(schemaKey), "<", 0)
	_, err := client.Txn(ctx).If(never).Then(clientv3.OpPut(schemaKey, ""), clientv3.OpPut(identityKey, ""), clientv3.OpPut(everything+"cluster/", "")).
		Else(clientv3.OpGet(everything, clientv3.WithPrefix(), clientv3.WithCountOnly())).Commit()
	if refused := refusal(err); refused != nil {
		return refused
	}
	return nil
}
