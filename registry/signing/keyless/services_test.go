//go:build interop

package keyless_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// issuer is an OpenID Connect provider that gives tokens for whoever a test names: what Fulcio asks, and no more.
type issuer struct {
	url string
	key *rsa.PrivateKey
}

func startIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the client may have gone
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": i.url, "jwks_uri": i.url + "/keys", "authorization_endpoint": i.url + "/auth", "token_endpoint": i.url + "/token",
			"id_token_signing_alg_values_supported": []string{"RS256"}, "response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"keys": []any{map[string]string{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1",
			"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes())}}})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	i.url = server.URL
	return i
}

// token is an identity token for somebody, for ten minutes.
func (i *issuer) token(t *testing.T, email string) string {
	t.Helper()
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	now := time.Now()
	text := part(map[string]string{"alg": "RS256", "kid": "1", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": i.url, "aud": "sigstore", "sub": email, "email": email, "email_verified": true, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	})
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// services are Sigstore's own, of this test alone, and the files that tell of them.
type services struct {
	issuer *issuer
	dir    string
	// SigningConfig and TrustedRoot are files that cosign wrote. OtherRoot is one of services that signed nothing.
	signingConfig, trustedRoot, otherRoot string
}

// startServices runs Fulcio, a timestamp authority and Rekor with a folder as their log.
func startServices(t *testing.T) services {
	t.Helper()
	s := services{issuer: startIssuer(t), dir: t.TempDir()}
	config := filepath.Join(s.dir, "fulcio.yaml")
	s.write(t, "fulcio.yaml", fmt.Appendf(nil, "oidc-issuers:\n  %s:\n    issuer-url: %s\n    client-id: sigstore\n    type: email\n", s.issuer.url, s.issuer.url))
	logKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.writeKeys(t, "rekor", logKey)
	const host = "127.0.0.1"
	ports := freePorts(t, 8)
	fulcio, tsa, rekor := "http://"+host+":"+ports[0], "http://"+host+":"+ports[1], "http://"+host+":"+ports[2]
	otherFulcio := "http://" + host + ":" + ports[6]
	for i, at := range []string{ports[0], ports[6]} {
		start(t, "FULCIO", "serve", "--host", host, "--port", at, "--grpc-host", host, "--grpc-port", ports[3+4*i], "--metrics-port", "0",
			"--legacy-unix-domain-socket", filepath.Join(s.dir, fmt.Sprint(i)), "--ca", "ephemeralca", "--ct-log-url", "", "--config-path", config)
	}
	start(t, "TIMESTAMP_SERVER", "serve", "--host", host, "--port", ports[1], "--disable-ntp-monitoring", "--timestamp-signer", "memory")
	start(t, "REKOR_SERVER", "serve", "--http-port", ports[2], "--grpc-port", ports[4], "--http-metrics-port", ports[5], "--hostname", host,
		"--signer-filepath", filepath.Join(s.dir, "rekor.key"), "--storage-dir", filepath.Join(s.dir, "log"), "--checkpoint-interval", "1s", "--batch-max-age", "100ms")
	s.write(t, "tsa.pem", get(t, tsa+"/api/v1/timestamp/certchain"))
	s.write(t, "fulcio.pem", bundle(t, fulcio))
	s.write(t, "other.pem", bundle(t, otherFulcio))
	get(t, rekor+"/healthz")
	began := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	s.signingConfig, s.trustedRoot, s.otherRoot = filepath.Join(s.dir, "signing_config.json"), filepath.Join(s.dir, "trusted_root.json"), filepath.Join(s.dir, "other_root.json")
	s.cosign(t, "signing-config", "create", "--out", s.signingConfig,
		"--fulcio", "url="+fulcio+",api-version=1,start-time="+began+",operator=test", "--tsa", "url="+tsa+"/api/v1/timestamp,api-version=1,start-time="+began+",operator=test", "--tsa-config", "ANY",
		"--rekor", "url="+rekor+",api-version=2,start-time="+began+",operator=test", "--rekor-config", "ANY", "--oidc-provider", "url="+s.issuer.url+",api-version=1,start-time="+began+",operator=test")
	for file, authority := range map[string]string{s.trustedRoot: "fulcio.pem", s.otherRoot: "other.pem"} {
		s.cosign(t, "trusted-root", "create", "--out", file,
			"--fulcio", "url="+fulcio+",certificate-chain="+filepath.Join(s.dir, authority)+",start-time="+began, "--tsa", "url="+tsa+"/api/v1/timestamp,certificate-chain="+filepath.Join(s.dir, "tsa.pem")+",start-time="+began,
			"--rekor", "url="+rekor+",public-key="+filepath.Join(s.dir, "rekor.pub")+",start-time="+began+",origin="+host)
	}
	return s
}

func (s services) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s services) writeKeys(t *testing.T, name string, key *ecdsa.PrivateKey) {
	t.Helper()
	private, err1 := x509.MarshalPKCS8PrivateKey(key)
	public, err2 := x509.MarshalPKIXPublicKey(key.Public())
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	s.write(t, name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	s.write(t, name+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
}

// runCosign runs the real one.
func (s services) runCosign(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, os.Getenv("COSIGN"), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"HOME=" + s.dir, "TUF_ROOT=" + filepath.Join(s.dir, "tuf"), "HTTPS_PROXY=http://127.0.0.1:1", "NO_PROXY=127.0.0.1"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s services) cosign(t *testing.T, args ...string) {
	t.Helper()
	if out, err := s.runCosign(t.Context(), args...); err != nil {
		t.Fatalf("cosign %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// start runs a service until the test ends. Its binary is in an environment variable.
func start(t *testing.T, variable string, args ...string) {
	t.Helper()
	binary := os.Getenv(variable)
	if binary == "" {
		t.Fatalf("%s names no binary; run `make interop`", variable)
	}
	cmd := exec.Command(binary, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL) // it may have ended by itself
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(binary), said.String())
		}
	})
}

// freePorts are ports that nothing listened at a moment ago: the services cannot choose their own and tell.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	return ports
}

// startTime is how long a service may take until it answers.
const startTime = time.Minute

// get asks a service until it answers.
func get(t *testing.T, url string) []byte {
	t.Helper()
	deadline := time.Now().Add(startTime)
	for {
		resp, err := http.Get(url)
		if err == nil {
			body, readErr := io.ReadAll(resp.Body)
			_ = resp.Body.Close() // read to its end
			if err = readErr; err == nil && resp.StatusCode == http.StatusOK {
				return body
			}
			err = errors.Join(err, errors.New(resp.Status))
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", url, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// bundle is a certificate authority's chain in PEM.
func bundle(t *testing.T, fulcio string) []byte {
	t.Helper()
	var answer struct {
		Chains []struct {
			Certificates []string `json:"certificates"`
		} `json:"chains"`
	}
	if err := json.Unmarshal(get(t, fulcio+"/api/v2/trustBundle"), &answer); err != nil || len(answer.Chains) != 1 {
		t.Fatalf("%+v, %v", answer, err)
	}
	return []byte(strings.Join(answer.Chains[0].Certificates, "\n"))
}
