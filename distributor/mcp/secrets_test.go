package mcp

import (
	"strings"
	"testing"

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
