package access_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/model"
)

const policy = `
apiVersion: waft.dev/v1
kind: AccessPolicy
metadata: {name: production}
spec:
  contact: platform@example.org
  bindings:
  - {name: watchers, subjects: [{certificate: "cn:vera"}], roles: [viewer]}
  - name: payments
    subjects: [{certificate: "spiffe://example.org/ci/payments"}, {certificate: "cn:paul"}]
    roles: [publisher, operator]
    layers: [team/payments, service/checkout]
    repositories: [payments/**]
  - name: platform
    subjects: [{certificate: "spiffe://example.org/people/*"}, {certificate: "dns:*.admin.example.org"}]
    roles: [publisher, operator, approver]
    layers: ["*"]
    repositories: ["**"]
  - {name: on-call, subjects: [{certificate: "cn:olga"}], roles: [operator], layers: ["emergency/*"]}
  - {name: doors, subjects: [{certificate: "cn:olga"}], roles: [approver], layers: [emergency/authz]}
  - {name: nodes, subjects: [{certificate: "spiffe://example.org/node/{node}"}, {certificate: "cn:node-{node}"}], roles: [node]}
  - {name: istio, subjects: [{certificate: "spiffe://cluster.local/ns/istio-system/sa/istiod"}], roles: [node], nodes: ["istio.istio-*"]}
  - {name: tested, subjects: [{certificate: "spiffe://example.org/test/{node}"}], roles: [node], labels: {env: [test, dev], host: "{node}", zone: "eu-*", any: "*"}}
  - {name: both-1, subjects: [{certificate: "spiffe://example.org/both/{node}"}], roles: [node], labels: {env: prod, team: a}}
  - {name: both-2, subjects: [{certificate: "spiffe://example.org/both/{node}"}], roles: [node], labels: {env: test}}
`

func parsed(t *testing.T, text string) *access.Policy {
	t.Helper()
	p, err := access.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// named is who has a certificate with that name.
func named(name string) access.Identity {
	return access.Identity{Name: name, Certificate: []string{name}}
}

func TestDecide(t *testing.T) {
	p := parsed(t, policy)
	layer := func(l string) access.Object { return access.Object{Layer: model.Layer(l)} }
	repository := func(r string) access.Object { return access.Object{Repository: r} }
	node := func(n string) access.Object { return access.Object{Node: n} }
	none := access.Object{}
	const paul, olga, ann = "cn:paul", "cn:olga", "spiffe://example.org/people/ann"
	for _, tc := range []struct {
		who    string
		action access.Action
		object access.Object
		good   bool
	}{
		{"", access.Probe, none, true},
		{"", access.Read, none, false},
		{"", access.Fetch, none, false},
		{"cn:vera", access.Read, none, true},
		{"cn:vera", access.Push, repository("payments/a"), false},
		{"cn:vera", access.TendNode, none, false},
		{"cn:stranger", access.Read, none, false},
		{"cn:VERA", access.Read, none, false},
		{paul, access.Read, none, true},
		{paul, access.CreateRelease, layer("team/payments"), true},
		{paul, access.CreateRelease, layer("service/checkout"), true},
		{paul, access.CreateRelease, layer("team/payments2"), false},
		{paul, access.CreateRelease, layer("team/other"), false},
		{paul, access.CreateRelease, layer("global"), false},
		{paul, access.CreateRelease, layer(""), false},
		{paul, access.WriteSecret, layer("team/payments"), true},
		{paul, access.WriteSecret, layer("team/other"), false},
		{paul, access.WriteSecret, layer("global"), false},
		{"cn:vera", access.WriteSecret, layer("team/payments"), false},
		{olga, access.WriteSecret, layer("global"), false},
		{olga, access.RekeySecrets, none, true},
		{"cn:vera", access.RekeySecrets, none, false},
		{paul, access.MoveRollout, layer("team/payments"), true},
		{paul, access.MoveRollout, layer("global"), false},
		{paul, access.ApproveRollout, layer("team/payments"), false},
		{paul, access.DisableFilter, layer("emergency/authz"), false},
		{paul, access.TendNode, none, true},
		{paul, access.Push, repository("payments/a"), true},
		{paul, access.Push, repository("payments/a/b"), true},
		{paul, access.Push, repository("payments"), false},
		{paul, access.Push, repository("payments2/a"), false},
		{paul, access.Push, repository("filters/payments/a"), false},
		{paul, access.Push, none, false},
		{paul, access.Connect, node("paul"), false},
		{ann, access.CreateRelease, layer("global"), true},
		{ann, access.CreateRelease, layer("team/payments"), true},
		{ann, access.CreateRelease, layer("emergency/authz"), false}, // "*" is no emergency
		{ann, access.DisableFilter, layer("emergency/authz"), false},
		{ann, access.ApproveRollout, layer("global"), true},
		{ann, access.ApproveRollout, access.Object{Layer: "global", StartedBy: "cn:paul"}, true},
		{ann, access.ApproveRollout, access.Object{Layer: "global", StartedBy: ann}, false},
		{ann, access.Push, repository("anything"), true},
		{"spiffe://example.org/people/ann/laptop", access.Read, none, false},
		{"spiffe://example.org/people/", access.Read, none, false},
		{"spiffe://example.com/people/ann", access.Read, none, false},
		{"dns:a.admin.example.org", access.CreateRelease, layer("global"), true},
		{"dns:a.b.admin.example.org", access.Read, none, false},
		{"dns:admin.example.org", access.Read, none, false},
		{olga, access.DisableFilter, layer("emergency/headers"), true},
		{olga, access.ExposeFilter, layer("emergency/authz"), true},
		{olga, access.ExposeFilter, layer("emergency/headers"), false},
		{olga, access.MoveRollout, layer("global"), false},
		{"spiffe://example.org/node/edge-1", access.Connect, node("edge-1"), true},
		{"spiffe://example.org/node/edge-1", access.Connect, node("edge-2"), false},
		{"spiffe://example.org/node/edge-1", access.Connect, node(""), false},
		{"spiffe://example.org/node/edge-1", access.Connect, none, false},
		{"spiffe://example.org/node/edge-1", access.Fetch, none, true},
		{"spiffe://example.org/node/edge-1", access.Read, none, false},
		{"spiffe://example.org/node/a/edge-1", access.Connect, node("edge-1"), false},
		{"cn:node-7", access.Connect, node("7"), true},
		{"cn:node-7", access.Connect, node("node-7"), false},
		{"spiffe://cluster.local/ns/istio-system/sa/istiod", access.Connect, node("istio.istio-system"), true},
		{"spiffe://cluster.local/ns/istio-system/sa/istiod", access.Connect, node("istio.other"), false},
		{"spiffe://cluster.local/ns/istio-system/sa/istiod", access.Connect, node("edge-1"), false},
		{"spiffe://cluster.local/ns/istio-system/sa/istiod", access.Connect, none, false},
		{ann, access.Connect, node("ann"), false},
		{ann, access.Action("fly"), none, false},
		{ann, access.ByMethod, none, false},
		{ann, "", none, false},
	} {
		t.Run(fmt.Sprint(tc.who, " ", tc.action, " ", tc.object), func(t *testing.T) {
			id := access.Identity{}
			if tc.who != "" {
				id = named(tc.who)
			}
			err := p.Decide(id, tc.action, tc.object, time.Now())
			if (err == nil) != tc.good {
				t.Fatalf("%v, want it allowed: %v", err, tc.good)
			}
			want := model.ErrDenied
			if tc.who == "" {
				want = model.ErrUnauthenticated
			}
			if err != nil && !errors.Is(err, want) {
				t.Errorf("%v is not of kind %v", err, want)
			}
			// Whoever may do something there may do it somewhere.
			if tc.good && p.Admits(id, tc.action, time.Now()) != nil {
				t.Error("is not admitted")
			}
		})
	}
}

func TestAdmitsWhoMaySomewhere(t *testing.T) {
	p := parsed(t, policy)
	for who, want := range map[string][]access.Action{
		"cn:vera":   {access.Fetch, access.Read},
		"cn:paul":   {access.Fetch, access.Read, access.Push, access.CreateRelease, access.MoveRollout, access.DisableFilter, access.TendNode},
		"cn:olga":   {access.Fetch, access.Read, access.MoveRollout, access.ApproveRollout, access.DisableFilter, access.ExposeFilter, access.TendNode},
		"cn:node-7": {access.Fetch, access.Connect},
		"cn:eve":    nil,
	} {
		var got []access.Action
		for _, a := range []access.Action{access.Fetch, access.Read, access.Push, access.CreateRelease, access.MoveRollout, access.ApproveRollout, access.DisableFilter,
			access.ExposeFilter, access.TendNode, access.Connect} {
			if p.Admits(named(who), a, time.Now()) == nil {
				got = append(got, a)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is admitted to %q, want %q", who, got, want)
		}
	}
}

// Whoever may be several nodes, or something else beside a node, is not one.
func TestOneNode(t *testing.T) {
	p := parsed(t, policy+`  - {name: watched, subjects: [{certificate: "cn:node-9"}], roles: [viewer]}
`)
	for who, want := range map[string]bool{
		"spiffe://example.org/node/a": true, "spiffe://example.org/both/a": true, "cn:node-7": true, "cn:node-9": false, "spiffe://cluster.local/ns/istio-system/sa/istiod": false,
		"cn:vera": false, "cn:nobody": false,
	} {
		if got := p.OneNode(named(who)); got != want {
			t.Errorf("%s is one node: %v", who, got)
		}
	}
	plane := parsed(t, `
apiVersion: waft.dev/v1
kind: AccessPolicy
metadata: {name: test}
spec:
  bindings:
  - {name: planes, subjects: [{certificate: "spiffe://example.org/plane/{node}"}], roles: [node]}
`)
	for node, want := range map[string]bool{"istio.istio-system": false, "istiod": true} {
		if got := plane.OneNode(named("spiffe://example.org/plane/" + node)); got != want {
			t.Errorf("%s is one node: %v", node, got)
		}
	}
	if p.OneNode(access.Identity{}) {
		t.Error("nobody is a node")
	}
}

// Of a node that is away nobody knows the certificate: it may have the labels that any of the bindings gives to a node of its id.
func TestMayHave(t *testing.T) {
	p := parsed(t, `
apiVersion: waft.dev/v1
kind: AccessPolicy
metadata: {name: test}
spec:
  bindings:
  - {name: edges, subjects: [{certificate: "spiffe://example.org/edges"}], roles: [node], nodes: [edge-*], labels: {env: dev}}
  - {name: one, subjects: [{certificate: "spiffe://example.org/one"}], roles: [node], nodes: [edge-1], labels: {env: [test, prod]}}
  - {name: viewers, subjects: [{certificate: "cn:viewer"}], roles: [viewer]}
`)
	for _, c := range []struct {
		node, env string
		want      bool
	}{{"edge-2", "dev", true}, {"edge-2", "prod", false}, {"edge-1", "prod", true}, {"edge-1", "canary", false}, {"other", "prod", true}} {
		if got := p.MayHave(c.node, map[string]string{"env": c.env}); got != c.want {
			t.Errorf("%s with env=%s: %v", c.node, c.env, got)
		}
	}
	own := parsed(t, `
apiVersion: waft.dev/v1
kind: AccessPolicy
metadata: {name: test}
spec:
  bindings:
  - {name: own, subjects: [{certificate: "spiffe://example.org/node/{node}"}], roles: [node], labels: {host: "{node}"}}
`)
	if !own.MayHave("a", map[string]string{"host": "a"}) || own.MayHave("a", map[string]string{"host": "b"}) || own.MayHave("a", nil) {
		t.Error("a label by the id of the node is not judged by it")
	}
}

// What a node says of itself is as its binding has it, where it has it.
func TestDecideAboutLabels(t *testing.T) {
	p := parsed(t, policy)
	good := map[string]string{"env": "test", "host": "a", "zone": "eu-1", "any": "thing", "free": "x"}
	with := func(key, value string) map[string]string {
		m := maps.Clone(good)
		m[key] = value
		return m
	}
	without := func(key string) map[string]string {
		m := maps.Clone(good)
		delete(m, key)
		return m
	}
	for what, tc := range map[string]struct {
		who, node string
		labels    map[string]string
		good      bool
	}{
		"as it is":              {"test/a", "a", good, true},
		"another value":         {"test/a", "a", with("env", "dev"), true},
		"a value of none":       {"test/a", "a", with("env", "prod"), false},
		"half a value":          {"test/a", "a", with("env", "tes"), false},
		"more than a value":     {"test/a", "a", with("env", "test2"), false},
		"an empty one":          {"test/a", "a", with("env", ""), false},
		"without":               {"test/a", "a", without("env"), false},
		"none":                  {"test/a", "a", map[string]string{}, false},
		"not asked about":       {"test/a", "a", nil, true},
		"another's host":        {"test/a", "a", with("host", "b"), false},
		"a pattern":             {"test/a", "a", with("zone", "eu-"), true},
		"not of the pattern":    {"test/a", "a", with("zone", "us-1"), false},
		"any":                   {"test/a", "a", without("any"), false},
		"an id like a pattern":  {"test/*", "*", with("host", "anything"), false},
		"a node that is free":   {"node/a", "a", map[string]string{"env": "prod"}, true},
		"another node":          {"test/b", "a", good, false},
		"one of two bindings":   {"both/a", "a", map[string]string{"env": "prod", "team": "a"}, true},
		"the other":             {"both/a", "a", map[string]string{"env": "test", "team": "b"}, true},
		"neither, half of each": {"both/a", "a", map[string]string{"env": "prod", "team": "b"}, false},
	} {
		err := p.Decide(named("spiffe://example.org/"+tc.who), access.Connect, access.Object{Node: tc.node, Labels: tc.labels}, time.Now())
		if (err == nil) != tc.good || err != nil && !errors.Is(err, model.ErrDenied) {
			t.Errorf("%s: %v, want it allowed: %v", what, err, tc.good)
		}
	}
}

// A refusal says who lacks what where, what it has instead, and who could give it.
func TestRefusalsSayWhatIsMissing(t *testing.T) {
	p := parsed(t, policy)
	for _, tc := range []struct {
		id     access.Identity
		action access.Action
		object access.Object
		want   string
	}{
		{named("cn:paul"), access.CreateRelease, access.Object{Layer: "global"},
			`cn:paul: may not create a release in the layer "global": it lacks the role publisher there, and has it for the layers team/payments, service/checkout; ` +
				`ask whoever keeps the access policy production (platform@example.org); its bindings platform give that`},
		{named("cn:vera"), access.TendNode, access.Object{},
			`cn:vera: may not tend a node: it lacks the role operator; ask whoever keeps the access policy production (platform@example.org); its bindings payments, platform, on-call give that`},
		{named("cn:node-7"), access.Connect, access.Object{Node: "8"},
			`cn:node-7: may not be the node "8": it lacks the role node there, and has it for the node 7; ask whoever keeps the access policy production (platform@example.org)`},
		{named("spiffe://example.org/test/a"), access.Connect, access.Object{Node: "a", Labels: map[string]string{"env": "prod", "host": "b"}},
			`spiffe://example.org/test/a: may not be the node "a" without the label any: the binding tested of the access policy gives it any=*; ` +
				`say any=* where the node is configured (--label of waft agent and of waft bootstrap), or ask whoever keeps the access policy production (platform@example.org)`},
		{named("spiffe://example.org/both/a"), access.Connect, access.Object{Node: "a", Labels: map[string]string{"env": "dev"}},
			`spiffe://example.org/both/a: may not be the node "a" with the label env=dev: the binding both-1 of the access policy gives it env=prod; ` +
				`say env=prod where the node is configured (--label of waft agent and of waft bootstrap), or ask whoever keeps the access policy production (platform@example.org)`},
		{access.Identity{}, access.Read, access.Object{},
			`who asks has not proved who it is, and only viewer or publisher or operator or approver may read; show a client certificate`},
		{access.Identity{Name: "cn:vera", Certificate: []string{"cn:vera"}, Expires: time.Unix(1, 0)}, access.Read, access.Object{},
			`cn:vera: what it is proved by has expired at 1970-01-01T00:00:01Z; renew it and connect again`},
	} {
		if err := p.Decide(tc.id, tc.action, tc.object, time.Now()); err == nil || err.Error() != tc.want {
			t.Errorf("%v\nwant %s", err, tc.want)
		}
	}
}

func TestOfCertificate(t *testing.T) {
	uri := func(texts ...string) (list []*url.URL) {
		for _, text := range texts {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, u)
		}
		return list
	}
	for name, tc := range map[string]struct {
		cert x509.Certificate
		want []string // nil: refused
	}{
		"a common name": {x509.Certificate{Subject: pkix.Name{CommonName: "ann"}}, []string{"cn:ann"}},
		"hosts":         {x509.Certificate{Subject: pkix.Name{CommonName: "ann"}, DNSNames: []string{"A.example", "b.example"}}, []string{"cn:ann", "dns:a.example", "dns:b.example"}},
		"a SPIFFE id":   {x509.Certificate{URIs: uri("spiffe://example.org/node/a")}, []string{"spiffe://example.org/node/a"}},
		"a SPIFFE id, and other names which do not count": {
			x509.Certificate{Subject: pkix.Name{CommonName: "admin"}, DNSNames: []string{"admin.example"}, URIs: uri("spiffe://example.org/node/a")}, []string{"spiffe://example.org/node/a"}},
		"two SPIFFE ids":                    {x509.Certificate{URIs: uri("spiffe://example.org/node/a", "spiffe://example.org/node/b")}, nil},
		"a SPIFFE id and a URI":             {x509.Certificate{URIs: uri("https://example.org", "SPIFFE://example.org/node/a")}, nil},
		"a URI that poses as a common name": {x509.Certificate{URIs: []*url.URL{{Scheme: "cn", Opaque: "ann"}}}, nil},
		"a URI that poses as a user":        {x509.Certificate{URIs: []*url.URL{{Path: "corp/ann@example.org"}}}, nil},
		"a SPIFFE id with a query":          {x509.Certificate{URIs: uri("spiffe://example.org/ci/x?y")}, nil},
		"a SPIFFE id with a fragment":       {x509.Certificate{URIs: uri("spiffe://example.org/ci/x#y")}, nil},
		"no name":                           {x509.Certificate{}, nil},
		"a name that is too long":           {x509.Certificate{Subject: pkix.Name{CommonName: strings.Repeat("a", 254)}}, nil},
		"a common name that poses":          {x509.Certificate{Subject: pkix.Name{CommonName: "spiffe://example.org/node/a"}}, []string{"cn:spiffe://example.org/node/a"}},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := access.OfCertificate(&tc.cert)
			if (err == nil) != (tc.want != nil) || !slices.Equal(id.Certificate, tc.want) || err == nil && id.Name != tc.want[0] {
				t.Errorf("%+v, %v; want %q", id, err, tc.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const head = "apiVersion: waft.dev/v1\nkind: AccessPolicy\nmetadata: {name: p}\nspec:\n"
	binding := func(text string) string { return head + "  bindings:\n  - {name: b, " + text + "}\n" }
	issued := func(subject string) string {
		return head + "  issuers: [{name: corp, url: 'https://i.example', audience: waft}]\n  bindings: [{name: b, subjects: [" + subject + "], roles: [viewer]}]\n"
	}
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":                {"", "the file is empty"},
		"no YAML":                {"a: [", "line 1"},
		"another kind":           {"apiVersion: waft.dev/v1\nkind: TrustPolicy\n", `kind "TrustPolicy"`},
		"two documents":          {binding(`subjects: [{certificate: "cn:a"}], roles: [viewer]`) + "---\n", "behind the first document"},
		"no bindings":            {head + "  bindings: []\n", "spec.bindings: 0 bindings"},
		"an unknown field":       {binding(`subjects: [{certificate: "cn:a"}], roles: [viewer], layer: global`), "line 6: field layer not found"},
		"a field twice":          {binding(`roles: [viewer], roles: [viewer]`), "line 6"},
		"a number for a string":  {binding(`subjects: [{certificate: 7}], roles: [viewer]`), "line 6: want a string"},
		"no name":                {head + "  bindings:\n  - {roles: [viewer]}\n", "spec.bindings[0].name"},
		"a role that is none":    {binding(`subjects: [{certificate: "cn:a"}], roles: [admin]`), `spec.bindings[0].roles[0]: line 6: "admin" is not a role`},
		"no role":                {binding(`subjects: [{certificate: "cn:a"}]`), "gives no role"},
		"no subject":             {binding(`roles: [viewer]`), "to nobody"},
		"a subject without kind": {binding(`subjects: [{certificate: ann}], roles: [viewer]`), "spec.bindings[0].subjects[0].certificate: line 6"},
		"an empty subject":       {binding(`subjects: [{}], roles: [viewer]`), "spec.bindings[0].subjects[0].certificate"},
		"any trust domain":       {binding(`subjects: [{certificate: "spiffe://*/a"}], roles: [viewer]`), "trust domain"},
		"a layer that is none":   {binding(`subjects: [{certificate: "cn:a"}], roles: [operator], layers: [teams/a]`), `layers[0]: line 6: "teams/a" is not a layer`},
		"half a layer":           {binding(`subjects: [{certificate: "cn:a"}], roles: [operator], layers: ["team/a*"]`), "is not a layer"},
		"a repository":           {binding(`subjects: [{certificate: "cn:a"}], roles: [publisher], repositories: ["a**"]`), "repositories[0]: line 6"},
		"no layers":              {binding(`subjects: [{certificate: "cn:a"}], roles: [operator]`), "names no layers"},
		"nothing to publish":     {binding(`subjects: [{certificate: "cn:a"}], roles: [publisher]`), "neither layers nor repositories"},
		"a viewer's layers":      {binding(`subjects: [{certificate: "cn:a"}], roles: [viewer], layers: [global]`), "sees all layers"},
		"an operator's pushes":   {binding(`subjects: [{certificate: "cn:a"}], roles: [operator], layers: [global], repositories: [a]`), "only a publisher"},
		"a node with more":       {binding(`subjects: [{certificate: "cn:{node}"}], roles: [node, viewer]`), "no other"},
		"a node's layers":        {binding(`subjects: [{certificate: "cn:{node}"}], roles: [node], layers: [global]`), "writes to no layer"},
		"a node without an id":   {binding(`subjects: [{certificate: "cn:node"}], roles: [node]`), "which node it is"},
		"an id for a person":     {binding(`subjects: [{certificate: "cn:{node}"}], roles: [viewer]`), "is for the role node"},
		"two ids":                {binding(`subjects: [{certificate: "cn:{node}-{node}"}], roles: [node]`), "twice"},
		"a name twice": {head + "  bindings:\n  - {name: b, subjects: [{certificate: 'cn:a'}], roles: [viewer]}\n  - {name: b, subjects: [{certificate: 'cn:a'}], roles: [viewer]}\n",
			"spec.bindings[1].name: line 7: b stands on line 6 already"},
		"an issuer without audience": {head + "  issuers: [{name: corp, url: 'https://i.example'}]\n  bindings: [{name: b, subjects: [{issuer: corp, user: a}], roles: [viewer]}]\n",
			"spec.issuers[0].audience: line 5"},
		"an issuer without TLS":   {head + "  issuers: [{name: corp, url: 'http://i.example', audience: waft}]\n  bindings: [{name: b, subjects: [{certificate: 'cn:a'}], roles: [viewer]}]\n", "spec.issuers[0].url: line 5"},
		"keys without TLS":        {head + "  issuers: [{name: corp, url: 'https://i.example', audience: waft, jwks: 'http://i.example'}]\n  bindings: [{name: b, subjects: [{certificate: 'cn:a'}], roles: [viewer]}]\n", "spec.issuers[0].jwks: line 5"},
		"an issuer twice":         {head + "  issuers:\n  - &i {name: corp, url: 'https://i.example', audience: waft}\n  - *i\n  bindings: [{name: b, subjects: [{certificate: 'cn:a'}], roles: [viewer]}]\n", "spec.issuers[1].name"},
		"an unknown issuer":       {binding(`subjects: [{issuer: corp, user: a}], roles: [viewer]`), `spec.bindings[0].subjects[0].issuer: line 6: there is no issuer "corp"`},
		"a user of no issuer":     {binding(`subjects: [{user: a}], roles: [viewer]`), "spec.bindings[0].subjects[0].issuer: line 6: is missing"},
		"a user and a group":      {issued(`{issuer: corp, user: a, group: b}`), "a user or a group"},
		"nobody of an issuer":     {issued(`{issuer: corp}`), "a user or a group"},
		"two kinds of subject":    {issued(`{issuer: corp, user: a, certificate: "cn:a"}`), "not of both"},
		"a node by a token":       {strings.ReplaceAll(issued(`{issuer: corp, user: a}`), "viewer", "node"), "no token"},
		"any node":                {binding(`subjects: [{certificate: "cn:a"}], roles: [node], nodes: ["*"]`), "nodes[0]: line 6"},
		"a viewer's labels":       {binding(`subjects: [{certificate: "cn:a"}], roles: [viewer], labels: {env: a}`), "only the role node is about labels"},
		"a label without value":   {binding(`subjects: [{certificate: "cn:{node}"}], roles: [node], labels: {env: []}`), "spec.bindings[0].labels[env]: line 6: no node could have the label"},
		"a value that is none":    {binding(`subjects: [{certificate: "cn:{node}"}], roles: [node], labels: {env: "a b"}`), `spec.bindings[0].labels[env]: line 6: "env=a b" is no label of a node`},
		"a pattern that is none":  {binding(`subjects: [{certificate: "cn:{node}"}], roles: [node], labels: {env: ["[a]"]}`), "is no label of a node"},
		"a key that is none":      {binding(`subjects: [{certificate: "cn:{node}"}], roles: [node], labels: {"e v": a}`), "is no label of a node"},
		"a label that is no text": {binding(`subjects: [{certificate: "cn:{node}"}], roles: [node], labels: {env: [7]}`), "want a string"},
		"a label twice":           {binding(`subjects: [{certificate: "cn:{node}"}], roles: [node], labels: {env: a, env: b}`), "line 6"},
		"a viewer's nodes":        {binding(`subjects: [{certificate: "cn:a"}], roles: [viewer], nodes: [a]`), "only the role node"},
		"too much":                {strings.Repeat("#", access.MaxPolicyBytes+1), "over the limit"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := access.Parse([]byte(tc.text))
			if p != nil || !errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q in it", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "access.") && !strings.Contains(err.Error(), "docs/access.md") {
				t.Errorf("%v speaks of Go", err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(policy)
	f.Add("apiVersion: waft.dev/v1\nkind: AccessPolicy\nmetadata: {name: p}\nspec: {bindings: [&a {name: b, subjects: [{certificate: 'cn:*{node}'}], roles: [node]}, *a]}")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := access.Parse([]byte(text))
		if (p == nil) == (err == nil) {
			t.Fatalf("%v, %v", p, err)
		}
		if p != nil && p.Decide(access.Identity{}, access.Read, access.Object{}, time.Now()) == nil {
			t.Fatal("who has proved nothing may read")
		}
	})
}

// A file that is broken keeps the policy that was, and one that is mended is read again.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.yaml")
	write := func(text string) {
		t.Helper()
		// By a rename: what is half written may be read.
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := access.Open(path); err == nil {
		t.Fatal("a file that is not there was opened")
	}
	write(policy)
	f, err := access.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	type told struct {
		policy *access.Policy
		err    error
	}
	said := make(chan told)
	go f.Watch(t.Context(), func(p *access.Policy, err error) {
		select {
		case said <- told{p, err}:
		case <-t.Context().Done():
		}
	})
	first := f.Policy()
	write(policy + "  surprise: 1\n")
	if s := <-said; s.err == nil || !strings.Contains(s.err.Error(), path+": ") || !strings.Contains(s.err.Error(), "surprise") {
		t.Errorf("a broken file: %v", s.err)
	}
	if f.Policy() != first {
		t.Error("a broken file has changed the policy")
	}
	write(strings.ReplaceAll(policy, "cn:vera", "cn:victor"))
	if s := <-said; s.err != nil || s.policy != f.Policy() || s.policy == first {
		t.Errorf("a mended file: %v", s.err)
	}
	if err := f.Policy().Decide(named("cn:vera"), access.Read, access.Object{}, time.Now()); err == nil {
		t.Error("who is not named any more may read")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if s := <-said; !errors.Is(s.err, os.ErrNotExist) {
		t.Errorf("a file that is gone: %v", s.err)
	}
	if changed, err := f.Reload(); changed || err == nil {
		t.Errorf("a file that is gone: %v, %v", changed, err)
	}
}

// Nobody approves what they have started by another of the names that the same certificate proves.
func TestApproverByAnyName(t *testing.T) {
	p, err := access.Parse([]byte(`apiVersion: waft.dev/v1
kind: AccessPolicy
metadata: {name: p}
spec:
  bindings:
  - {name: b, subjects: [{certificate: "cn:ann"}, {certificate: "dns:ann.example"}], roles: [operator, approver], layers: [global]}
`))
	if err != nil {
		t.Fatal(err)
	}
	id := access.Identity{Name: "cn:ann", Certificate: []string{"cn:ann", "dns:ann.example"}}
	for started, may := range map[string]bool{"cn:ann": false, "dns:ann.example": false, "dns:bob.example": true} {
		if err := p.Decide(id, access.ApproveRollout, access.Object{Layer: "global", StartedBy: started}, time.Now()); (err == nil) != may {
			t.Errorf("started by %s: %v", started, err)
		}
	}
}
