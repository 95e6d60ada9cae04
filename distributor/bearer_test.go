package distributor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// identityProvider is an OpenID Connect issuer that signs with a real key.
type identityProvider struct {
	t *testing.T
	*httptest.Server
	mu  sync.Mutex
	key jose.JSONWebKey
}

func newIdentityProvider(t *testing.T) *identityProvider {
	t.Helper()
	p := &identityProvider{t: t, key: signingKey(t, "one")}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": p.URL, "jwks_uri": p.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{p.key.Public()}})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func signingKey(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k, KeyID: id, Algorithm: string(jose.ES256)}
}

// token is one for a user with groups, which ends after so long.
func (p *identityProvider) token(user string, ends time.Duration, groups ...string) string {
	p.t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	raw, err := jwt.Signed(s).Claims(map[string]any{"iss": p.URL, "aud": "waft", "sub": user, "groups": groups, "exp": time.Now().Add(ends).Unix()}).Serialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return raw
}

// policy is accessPolicy with tokens of the issuer.
func (p *identityProvider) policy() string {
	return strings.Replace(accessPolicy, "  bindings:\n", fmt.Sprintf(`  issuers:
  - {name: corp, url: %q, audience: waft}
  bindings:
  - {name: people, subjects: [{issuer: corp, user: ann}, {issuer: corp, group: sre}], roles: [publisher, operator], layers: ["*"], repositories: ["own/**"]}
  - {name: everybody, subjects: [{issuer: corp, group: staff}], roles: [viewer]}
`, p.URL), 1)
}

func TestBearerTokens(t *testing.T) {
	p := newIdentityProvider(t)
	atEachWith(t, p.policy(), func(t *testing.T, g *guarded) { bearerTokens(t, p, g) })
}

func bearerTokens(t *testing.T, p *identityProvider, g *guarded) {
	stranger := newIdentityProvider(t)
	forged := &identityProvider{t: t, Server: p.Server, key: signingKey(t, "one")}
	basic := func(token string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("whoever:"+token))
	}
	v, operator := g.visitor(t, nobody), g.visitor(t, "operator")
	for name, tc := range map[string]struct {
		v             *visitor
		authorization string
		creates       codes.Code
		reads         int
	}{
		"a user":                               {v, "Bearer " + p.token("ann", time.Hour), codes.OK, 200},
		"a group":                              {v, "bearer " + p.token("bob", time.Hour, "dev", "sre"), codes.OK, 200},
		"a password":                           {v, basic(p.token("ann", time.Hour)), codes.OK, 200},
		"a viewer":                             {v, "Bearer " + p.token("bob", time.Hour, "staff"), codes.PermissionDenied, 200},
		"a group of that user's name":          {v, "Bearer " + p.token("bob", time.Hour, "ann"), codes.PermissionDenied, 403},
		"a user of that group's name":          {v, "Bearer " + p.token("sre", time.Hour), codes.PermissionDenied, 403},
		"a user who is named as a node":        {v, "Bearer " + p.token("spiffe://example.org/node/one", time.Hour), codes.PermissionDenied, 403},
		"a user who is named as a person":      {v, "Bearer " + p.token("cn:publisher", time.Hour), codes.PermissionDenied, 403},
		"expired":                              {v, "Bearer " + p.token("ann", -time.Hour), codes.Unauthenticated, 401},
		"forged":                               {v, "Bearer " + forged.token("ann", time.Hour), codes.Unauthenticated, 401},
		"of another issuer":                    {v, "Bearer " + stranger.token("ann", time.Hour), codes.Unauthenticated, 401},
		"no token":                             {v, "Bearer hunter2", codes.Unauthenticated, 401},
		"a password that is none":              {v, basic("hunter2"), codes.Unauthenticated, 401},
		"another scheme":                       {v, "Digest hunter2", codes.Unauthenticated, 401},
		"nothing":                              {v, "", codes.Unauthenticated, 401},
		"a certificate, and a token beside it": {operator, "Bearer " + p.token("ann", time.Hour), codes.OK, 200},
		"a certificate, and a bad token":       {operator, "Bearer hunter2", codes.Unauthenticated, 401},
		"a certificate alone":                  {operator, "", codes.PermissionDenied, 200},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, header := t.Context(), http.Header{}
			if tc.authorization != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", tc.authorization)
				header.Set("Authorization", tc.authorization)
			}
			r, err := waftv1.NewReleaseServiceClient(tc.v.conn).CreateRelease(ctx, releaseIn("global", "base"))
			if status.Code(err) != tc.creates {
				t.Errorf("gRPC: %v, want %v", err, tc.creates)
			}
			if by := r.GetStatus().GetCreatedBy(); err == nil && !strings.HasPrefix(by, "corp/") {
				t.Errorf("it is by %q", by)
			}
			for _, path := range []string{"/v1/nodes", "/v2/_catalog", "/metrics"} {
				if got, body := tc.v.ask(t, http.MethodGet, path, "", header); got != tc.reads {
					t.Errorf("%s: %d %s, want %d", path, got, body, tc.reads)
				}
			}
			if got, _ := tc.v.ask(t, http.MethodPost, "/v2/other/f/blobs/uploads/", "", header); got != http.StatusForbidden && got != http.StatusUnauthorized {
				t.Errorf("another's repository: %d", got)
			}
		})
	}
	for _, secret := range []string{"hunter2", "eyJ"} {
		if strings.Contains(g.log.String(), secret) {
			t.Errorf("a token is in the log:\n%s", g.log)
		}
	}
}

// Tokens need no authorities for certificates; and a client of package api shows them.
func TestBearerTokensWithoutClientCertificates(t *testing.T) {
	p := newIdentityProvider(t)
	servers := newAuthority(t, "servers")
	file := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(file, []byte(p.policy()), 0o600); err != nil {
		t.Fatal(err)
	}
	policy, err := access.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := servers.issue("waft")
	s := start(t, distributor.Config{Data: t.TempDir(), TLS: distributor.TLS{Cert: cert, Key: key}, Access: policy})
	create := func(token string) (*waftv1.Release, error) {
		t.Helper()
		c, err := api.Dial(api.ClientConfig{Address: s.GRPC, TLS: api.ClientTLS{CA: servers.file}, Token: token, Actor: "somebody"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.Releases.CreateRelease(t.Context(), releaseIn("global", "base"))
	}
	if r, err := create(p.token("ann", time.Hour)); err != nil || r.GetStatus().GetCreatedBy() != "corp/ann" {
		t.Errorf("%v, %v", r.GetStatus(), err)
	}
	if _, err := create(""); !errors.Is(err, model.ErrUnauthenticated) || !strings.Contains(err.Error(), p.URL) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := create(p.token("bob", time.Hour)); !errors.Is(err, model.ErrDenied) || !strings.Contains(err.Error(), "corp/bob") {
		t.Errorf("somebody else: %v", err)
	}
	if _, err := api.Dial(api.ClientConfig{Address: s.GRPC, Insecure: true, Token: "x"}); err == nil {
		t.Error("a token goes over the network in the clear")
	}
}

// Registry clients show a token as a password. ORAS and CRANE name their programs; without them they are not tried.
func TestRegistryClientsShowTokens(t *testing.T) {
	oras, crane := os.Getenv("ORAS"), os.Getenv("CRANE")
	if oras == "" || crane == "" {
		t.Skip("ORAS and CRANE name no programs; make interop-tokens builds them")
	}
	p := newIdentityProvider(t)
	g := startWith(t, p.policy())
	dir := t.TempDir()
	login := func(user, token string) []string {
		t.Helper()
		folder := filepath.Join(dir, user)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		auth := base64.StdEncoding.EncodeToString([]byte("token:" + token))
		if err := os.WriteFile(filepath.Join(folder, "config.json"), fmt.Appendf(nil, `{"auths": {%q: {"auth": %q}}}`, g.HTTP, auth), 0o600); err != nil {
			t.Fatal(err)
		}
		return append(os.Environ(), "DOCKER_CONFIG="+folder, "SSL_CERT_FILE="+g.servers.file, "HOME="+folder)
	}
	if err := os.WriteFile(filepath.Join(dir, "f.txt"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(env []string, good bool, program string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env, cmd.Dir = env, dir
		out, err := cmd.CombinedOutput()
		if (err == nil) != good {
			t.Errorf("%s %q: %v\n%s", filepath.Base(program), args, err, out)
		}
		if !good && !strings.Contains(string(out), "cn:") && !strings.Contains(string(out), "corp/") && !strings.Contains(string(out), "has not proved") &&
			!strings.Contains(string(out), "credential not found") { // oras's own words for a login that it lacks
			t.Errorf("%s %q does not say why:\n%s", filepath.Base(program), args, out)
		}
	}
	ann, bob, eve := login("ann", p.token("ann", time.Hour)), login("bob", p.token("bob", time.Hour, "staff")), append(os.Environ(), "SSL_CERT_FILE="+g.servers.file, "DOCKER_CONFIG="+dir, "HOME="+dir)
	own, other := g.HTTP+"/own/f:1", g.HTTP+"/other/f:1"
	run(ann, true, oras, "push", own, "f.txt:text/plain")
	run(ann, false, oras, "push", other, "f.txt:text/plain")
	run(bob, true, oras, "pull", own, "-o", filepath.Join(dir, "pulled"))
	run(bob, false, oras, "push", own, "f.txt:text/plain")
	run(ann, true, crane, "copy", own, g.HTTP+"/own/g:1")
	run(ann, false, crane, "copy", own, other)
	run(bob, true, crane, "manifest", own)
	run(bob, false, crane, "tag", own, "2")
	run(eve, false, crane, "manifest", own)
	run(eve, false, oras, "pull", own)
}
