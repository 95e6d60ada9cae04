package mcp

import (
	"context"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

func secretsOf(refs ...model.SecretRef) model.Collection {
	c := model.Collection{Name: model.CollectionSecrets, Version: "v"}
	for _, ref := range refs {
		c.Version += " " + ref.String()
		c.Resources = append(c.Resources, model.Resource{Name: ref.String(), Version: ref.ID, Secret: &ref})
	}
	return c
}

func secretBody(t *testing.T, r *mcpv1.Resource) *waftv1.SecretValue {
	t.Helper()
	body := new(waftv1.SecretValue)
	if err := Body(r, body); err != nil {
		t.Fatal(err)
	}
	return body
}

// What a sink holds of a secret is not taken back because the distributor cannot open it now, on a stream that begins with it or goes on.
func TestHeldSecretsStay(t *testing.T) {
	one, two := model.SecretRef{Layer: "team/a", Name: "one", Version: 2, ID: "2a"}, model.SecretRef{Layer: "team/a", Name: "two", Version: 1, ID: "1a"}
	b := newTable()
	b.set(secretsOf(one, two))
	conn, _, _ := serve(t, b)
	w := open(t, conn)
	const name = model.CollectionSecrets
	w.first(name, one.String(), one.ID, two.String(), "another")
	m, err := w.stream.Recv()
	if err != nil || len(m.GetResources()) != 1 || len(m.GetRemovedResources()) != 0 || secretBody(t, m.GetResources()[0]).GetName() != "two" || secretBody(t, m.GetResources()[0]).GetTrouble() == "" {
		t.Errorf("%v, %v", m, err)
	}
	w.ack(name, "1", true)
	// Who is sent all of the collection is told, and not cut off.
	whole := open(t, conn)
	whole.first(name)
	m, err = whole.stream.Recv()
	if err != nil || len(m.GetResources()) != 2 || secretBody(t, m.GetResources()[0]).GetTrouble() == "" {
		t.Errorf("%v, %v", m, err)
	}
	whole.ack(name, "1", false)
	w = open(t, conn)
	w.first(name, one.String(), one.ID, two.String(), m.GetResources()[1].GetMetadata().GetVersion())
	w.want(name, "1", true, nil)
	w.ack(name, "1", true)
	three := model.SecretRef{Layer: "team/a", Name: "three", Version: 1, ID: "3a"}
	b.set(secretsOf(one, two, three))
	m, err = w.stream.Recv()
	if err != nil || len(m.GetResources()) != 1 || secretBody(t, m.GetResources()[0]).GetName() != "three" {
		t.Errorf("%v, %v", m, err)
	}
}

// A store that is away says nothing about a secret: the stream ends, and the sink comes again.
func TestSecretsThatCannotBeReadNowAreNoTrouble(t *testing.T) {
	one := model.SecretRef{Layer: "team/a", Name: "one", Version: 2, ID: "2a"}
	for code, fail := range map[codes.Code]error{
		codes.Unavailable: &model.Error{Kind: model.ErrUnavailable, Object: "the store", Message: "has no leader"}, codes.DeadlineExceeded: context.DeadlineExceeded, codes.Internal: io.ErrUnexpectedEOF,
	} {
		b := newTable()
		b.noSecrets = fail
		b.set(secretsOf(one))
		conn, _, _ := serve(t, b)
		w := open(t, conn)
		w.first(model.CollectionSecrets, []string{}...)
		if m, err := w.stream.Recv(); status.Code(err) != code {
			t.Errorf("%v: %v, %v", fail, m, err)
		}
	}
}

// A secret is sent with its value. One that cannot be given is sent with why, and again when it can be; the others are not held up.
func TestSecretsAreSentOrSayWhyNot(t *testing.T) {
	one, two := model.SecretRef{Layer: "team/a", Name: "one", Version: 2, ID: "2a"}, model.SecretRef{Layer: "team/a", Name: "two", Version: 1, ID: "1a"}
	b := newTable()
	b.secrets = map[model.SecretRef]string{one: "horse"}
	b.set(secretsOf(one, two))
	conn, _, _ := serve(t, b)
	w := open(t, conn)
	const name = model.CollectionSecrets
	w.first(name, []string{}...)
	m, err := w.stream.Recv()
	if err != nil || len(m.GetResources()) != 2 {
		t.Fatal(m, err)
	}
	if got := secretBody(t, m.GetResources()[0]); got.GetValue() != "horse" || got.GetLayer() != "team/a" || got.GetName() != "one" || got.GetVersion() != 2 || got.GetId() != "2a" || got.GetTrouble() != "" {
		t.Errorf("%v", got)
	}
	if got := secretBody(t, m.GetResources()[1]); got.GetValue() != "" || !strings.Contains(got.GetTrouble(), "cannot be opened; add the key") {
		t.Errorf("%v", got)
	}
	if strings.Contains(m.GetSystemVersionInfo(), "horse") {
		t.Errorf("the version has a value: %s", m.GetSystemVersionInfo())
	}
	w.ack(name, "1", true)
	b.settle(t, 2)
	b.set(secretsOf(one, two)) // nothing has changed
	b.settle(t, 1)
	b.mu.Lock()
	b.secrets[two] = "battery"
	b.mu.Unlock()
	b.set(secretsOf(one, two))
	m = w.want(name, "2", true, []string{two.String(), two.ID})
	if got := secretBody(t, m.GetResources()[0]); got.GetValue() != "battery" || got.GetTrouble() != "" {
		t.Errorf("%v", got)
	}
	w.ack(name, "2", true)
	b.settle(t, 2)
	b.set(secretsOf(two))
	w.want(name, "3", true, nil, one.String())
}
