package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/filters/authz/internal/testtoken"
	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// claims are those of a token that expires in ten minutes, with more members.
func claims(more ...string) string {
	return "{" + strings.Join(append([]string{fmt.Sprintf(`"iss":%q,"exp":%d`, issuer, now.Add(10*time.Minute).Unix())}, more...), ",") + "}"
}

var (
	adminClaims = claims(`"sub":"alice"`, `"roles":["admin"]`)
	userClaims  = claims(`"sub":"bob"`, `"roles":["user"]`)
)

func newFilter(t testing.TB, config string) *sdktest.Filter {
	t.Helper()
	return sdktest.New(t, configure, config, sdktest.Clock(now))
}

func bearer(token string) []sdk.Header { return sdktest.Headers("authorization", "Bearer "+token) }

func get(path string, headers ...sdk.Header) sdktest.Request {
	return sdktest.Request{Path: path, Headers: headers}
}

func wantPassed(t *testing.T, got sdktest.Result) {
	t.Helper()
	if got.Upstream == nil {
		t.Fatalf("denied with %d %s, want it to pass", got.Response.Status(), got.Details)
	}
}

func wantDenied(t *testing.T, got sdktest.Result, status int, reason string) {
	t.Helper()
	if got.Upstream != nil {
		t.Fatalf("passed, want %d %s", status, reason)
	}
	if got.Response.Status() != status || got.Details != "authz_"+reason {
		t.Fatalf("denied with %d %s, want %d authz_%s", got.Response.Status(), got.Details, status, reason)
	}
}

func TestOnlyAdminsEnterAdmin(t *testing.T) {
	f := newFilter(t, configWith(`"rules":[{"path":"/health","public":true},{"path":"/admin","roles":["admin"]},{"path":"/api"}]`))
	for _, k := range testtoken.All() {
		admin, user := k.Token(adminClaims), k.Token(userClaims)
		wantPassed(t, f.Do(get("/admin", bearer(admin)...)))
		wantPassed(t, f.Do(get("/admin/users?x=1", bearer(admin)...)))
		wantDenied(t, f.Do(get("/admin", bearer(user)...)), 403, "rule")
		wantPassed(t, f.Do(get("/api", bearer(user)...)))
		wantDenied(t, f.Do(get("/other", bearer(admin)...)), 403, "no_rule")
	}
	wantDenied(t, f.Do(get("/admin")), 401, "no_token")
	wantDenied(t, f.Do(get("/other")), 401, "no_token")
	wantPassed(t, f.Do(get("/health")))
	wantPassed(t, f.Do(get("/health", bearer("rubbish")...)))
	if got := f.Metric("authz.denied.reason.rule"); got != 4 {
		t.Errorf("%d denials by a rule are counted, want 4", got)
	}
}

func TestNoPathGetsAroundARule(t *testing.T) {
	f := newFilter(t, configWith(`"rules":[{"path":"/admin","roles":["admin"]},{"path":"/","public":true}]`))
	for _, path := range []string{
		"/admin", "/admin/", "/admin?x", "/admin/?", "/%61dmin", "/admi%6e", "/%61%64%6D%69%6E/x", "/admin/x%20y",
	} {
		wantDenied(t, f.Do(get(path)), 401, "no_token")
		wantPassed(t, f.Do(get(path, bearer(testtoken.EC().Token(adminClaims))...)))
	}
	for _, path := range []string{
		"//admin", "/x//admin", "/x/../admin", "/./admin", "/admin/../admin", "/x/%2e%2e/admin", "/x/..%2fadmin", "/%2e/admin",
		"/admin;x", "/;/admin", "/x/..;/admin", "/admin%3b", "/%2fadmin", "/%5cadmin", `/\admin`, "/%2561dmin", "/%61dmin%",
		"/admin%00", "/admin%23", "/admin%3f", "/x%c0%ae", "/%c0%afadmin", "admin", "*", "http://waft.test/admin",
	} {
		wantDenied(t, f.Do(get(path)), 403, "path")
		wantDenied(t, f.Do(get(path, bearer(testtoken.EC().Token(adminClaims))...)), 403, "path")
	}
	wantDenied(t, f.Do(sdktest.Request{Path: "/", Method: "get"}), 403, "method")
}

func TestTokensInTheRequest(t *testing.T) {
	const both = `"tokenHeaders":[{"name":"Authorization","scheme":"Bearer"},{"name":"X-Token"}]`
	good := testtoken.HMAC().Token(adminClaims)
	other := testtoken.EC().Token(adminClaims)
	h := sdktest.Headers
	for _, tt := range []struct {
		name    string
		headers []sdk.Header
		reason  string // "" passes
	}{
		{"in authorization", h("authorization", "Bearer "+good), ""},
		{"with the scheme in lower case", h("authorization", "bearer "+good), ""},
		{"with several spaces", h("authorization", "Bearer   "+good), ""},
		{"in the other header", h("x-token", good), ""},
		{"beside Basic", h("authorization", "Basic YTpi", "x-token", good), ""},
		{"none", nil, "no_token"},
		{"Basic only", h("authorization", "Basic YTpi"), "no_token"},
		{"another scheme that begins the same", h("authorization", "BearerX "+good), "no_token"},
		{"a scheme with a tab behind it", h("authorization", "Bearer\t"+good), "no_token"},
		{"no scheme", h("authorization", good), "no_token"},
		{"in the query", nil, "no_token"},
		{"in a cookie", h("cookie", "token="+good), "no_token"},
		{"a scheme and nothing", h("authorization", "Bearer"), "malformed"},
		{"a scheme and spaces", h("authorization", "Bearer  "), "malformed"},
		{"an empty header", h("x-token", ""), "malformed"},
		{"in both headers", h("authorization", "Bearer "+good, "x-token", good), "many_tokens"},
		{"in both headers, one of them bad", h("authorization", "Bearer "+good, "x-token", "rubbish"), "many_tokens"},
		{"in both headers, one of them empty", h("authorization", "Bearer "+good, "x-token", ""), "many_tokens"},
		{"in authorization twice", h("authorization", "Bearer "+good, "authorization", "Bearer "+other), "many_tokens"},
		{"the same in authorization twice", h("authorization", "Bearer "+good, "authorization", "Bearer "+good), "many_tokens"},
		{"in authorization, with Basic before", h("authorization", "Basic YTpi", "authorization", "Bearer "+good), "many_tokens"},
		{"in authorization, with Basic behind", h("authorization", "Bearer "+good, "authorization", "Basic YTpi"), "many_tokens"},
		{"in the other header, with Basic twice", h("authorization", "Basic YTpi", "authorization", "Basic YTpi", "x-token", good), "many_tokens"},
		{"in one value with a comma, as Envoy joins them", h("authorization", "Bearer "+good+",Bearer "+other), "many_tokens"},
		{"in one value with a comma, Basic first", h("authorization", "Basic YTpi,Bearer "+good), "no_token"},
		{"with a space behind", h("authorization", "Bearer "+good+" x"), "malformed"},
		{"oversized", h("authorization", "Bearer "+strings.Repeat("a", 8193)), "oversized"},
		{"as long as may be", h("authorization", "Bearer "+strings.Repeat("a", 8192)), "malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFilter(t, config(both))
			got := f.Do(get("/admin?access_token="+good, tt.headers...))
			if tt.reason == "" {
				wantPassed(t, got)
				return
			}
			wantDenied(t, got, 401, tt.reason)
		})
	}
}

func TestAnswers(t *testing.T) {
	f := newFilter(t, config(`"realm":"shop"`))
	expired := testtoken.EC().Token(fmt.Sprintf(`{"iss":%q,"exp":1,"roles":["admin"]}`, issuer))
	for _, tt := range []struct {
		name            string
		request         sdktest.Request
		status          int
		challenge, body string
	}{
		{"no token", get("/admin"), 401, `Bearer realm="shop"`, "a token is needed\n"},
		{"an expired token", get("/admin", bearer(expired)...), 401, `Bearer realm="shop", error="invalid_token", error_description="the token has expired"`, "the token has expired\n"},
		{"two tokens", get("/admin", append(bearer(expired), bearer(expired)...)...), 401, `Bearer realm="shop", error="invalid_request", error_description="more than one token in the request"`, "more than one token in the request\n"},
		{"a rule", get("/admin", bearer(testtoken.EC().Token(userClaims))...), 403, `Bearer realm="shop", error="insufficient_scope", error_description="the token does not grant access"`, "the token does not grant access\n"},
		{"a path", get("//admin"), 403, "", "the path is ambiguous or cannot be decoded\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := f.Do(tt.request).Response
			if got.Status() != tt.status || got.Get("www-authenticate") != tt.challenge || got.Body != tt.body {
				t.Errorf("%d, %s, %q", got.Status(), got.Get("www-authenticate"), got.Body)
			}
			if got.Get("content-type") != "text/plain" || got.Get("cache-control") != "no-store" {
				t.Errorf("headers %v", got.Headers)
			}
		})
	}
	got := newFilter(t, config()).Do(get("/admin")).Response
	if got.Get("www-authenticate") != "Bearer" {
		t.Errorf("without realm: %q", got.Get("www-authenticate"))
	}
}

func TestTokensAreRemembered(t *testing.T) {
	f := newFilter(t, config(`"clockSkewSeconds":30`))
	token := testtoken.RSA().Token(adminClaims)
	want := func(verified, remembered uint64) {
		t.Helper()
		if v, r := f.Metric(metricVerified), f.Metric(metricRemembered); v != verified || r != remembered {
			t.Fatalf("%d tokens verified and %d remembered, want %d and %d", v, r, verified, remembered)
		}
	}
	for range 3 {
		wantPassed(t, f.Do(get("/admin", bearer(token)...)))
	}
	want(1, 2)
	wantDenied(t, f.Do(get("/other", bearer(token)...)), 403, "no_rule")
	want(1, 3)
	// Refused tokens are not remembered, and a token that differs in its signature only is another one.
	bad := token[:len(token)-3] + "AAA"
	wantDenied(t, f.Do(get("/admin", bearer(bad)...)), 401, "signature")
	wantDenied(t, f.Do(get("/admin", bearer(bad)...)), 401, "signature")
	want(3, 3)
	// Until it expires, skew included, and not a moment longer.
	f.Advance(10*time.Minute + 30*time.Second - time.Nanosecond)
	wantPassed(t, f.Do(get("/admin", bearer(token)...)))
	want(3, 4)
	f.Advance(time.Nanosecond)
	wantDenied(t, f.Do(get("/admin", bearer(token)...)), 401, "expired")
	want(4, 4)
	// Another configuration forgets.
	f.Advance(-time.Minute)
	if err := f.Reconfigure(config(`"clockSkewSeconds":30`)); err != nil {
		t.Fatal(err)
	}
	wantPassed(t, f.Do(get("/admin", bearer(token)...)))
	want(5, 4)
}

func TestRememberingIsOff(t *testing.T) {
	f := newFilter(t, config(`"rememberedTokens":0`))
	for range 3 {
		wantPassed(t, f.Do(get("/admin", bearer(testtoken.HMAC().Token(adminClaims))...)))
	}
	if v, r := f.Metric(metricVerified), f.Metric(metricRemembered); v != 3 || r != 0 {
		t.Errorf("%d verified, %d remembered", v, r)
	}
}

func TestClockGoesBackBeforeNotBefore(t *testing.T) {
	f := newFilter(t, config())
	token := testtoken.HMAC().Token(claims(`"roles":["admin"]`, fmt.Sprintf(`"nbf":%d`, now.Unix())))
	wantPassed(t, f.Do(get("/admin", bearer(token)...)))
	f.Advance(-2 * time.Minute)
	wantDenied(t, f.Do(get("/admin", bearer(token)...)), 401, "not_yet_valid")
}

func TestForward(t *testing.T) {
	const forward = `"forward":[
		{"claim":"sub","header":"X-User-Id"},{"claim":"org.name","header":"x-org"},{"claimPath":["https://x/roles"],"header":"x-roles"},
		{"claim":"n","header":"x-n"},{"claim":"yes","header":"x-yes"},{"claim":"none","header":"x-none"},{"claim":"null","header":"x-null"}]`
	f := newFilter(t, configWith(`"rules":[{"path":"/public","public":true},{"path":"/"}]`, forward))
	token := testtoken.EC().Token(claims(`"sub":"alice"`, `"org":{"name":"Acme, Inc."}`, `"https://x/roles":["a b",1,{"c":true}]`, `"n":1.50`, `"yes":true`, `"null":null`))
	spoofed := sdktest.Headers("x-user-id", "root", "x_user_id", "root", "x-user_id", "root", "X-User-Id", "root", "x-none", "1", "x-null", "1", "x-org", "evil", "x-other", "stays")

	for range 2 { // verified, then remembered
		got := f.Do(get("/", append(bearer(token), spoofed...)...))
		wantPassed(t, got)
		for name, want := range map[string]string{
			"x-user-id": "alice", "x-org": "Acme, Inc.", "x-roles": `["a b",1,{"c":true}]`, "x-n": "1.50", "x-yes": "true",
			"x-other": "stays", "authorization": "Bearer " + token,
			"x_user_id": "", "x-user_id": "", "x-none": "", "x-null": "",
		} {
			if got.Upstream.Get(name) != want {
				t.Errorf("%s: %q, want %q", name, got.Upstream.Get(name), want)
			}
			if want == "" && got.Upstream.Has(name) {
				t.Errorf("%s is there", name)
			}
		}
	}
	got := f.Do(get("/public", append(bearer(token), spoofed...)...))
	wantPassed(t, got)
	for _, name := range []string{"x-user-id", "x_user_id", "x-user_id", "x-org", "x-none"} {
		if got.Upstream.Has(name) {
			t.Errorf("a public request takes %s to the upstream", name)
		}
	}
	if got.Upstream.Get("x-other") != "stays" {
		t.Error("a header that has nothing to do with claims is gone")
	}
	for name, claim := range map[string]string{
		"a line break": `"sub":"a\r\nx-admin: 1"`, "NUL": `"sub":"a\u0000"`, "beyond ASCII": `"sub":"é"`, "a space at the end": `"sub":"a "`,
		"inside a list": `"org":{"name":["\u0007é"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			wantDenied(t, f.Do(get("/", bearer(testtoken.EC().Token(claims(claim)))...)), 401, "unforwardable")
		})
	}
}

func TestRemoveToken(t *testing.T) {
	f := newFilter(t, configWith(`"rules":[{"path":"/public","public":true},{"path":"/"}]`, `"removeToken":true`,
		`"tokenHeaders":[{"name":"authorization","scheme":"Bearer"},{"name":"x-token"}]`))
	token := testtoken.EC().Token(userClaims)
	got := f.Do(get("/", bearer(token)...))
	wantPassed(t, got)
	if got.Upstream.Has("authorization") {
		t.Error("the token goes to the upstream")
	}
	got = f.Do(get("/", sdktest.Headers("authorization", "Basic YTpi", "x-token", token)...))
	wantPassed(t, got)
	if got.Upstream.Has("x-token") || got.Upstream.Get("authorization") != "Basic YTpi" {
		t.Errorf("headers %v", got.Upstream.Headers)
	}
	if got = f.Do(get("/public", bearer(token)...)); !got.Upstream.Has("authorization") {
		t.Error("a public request loses a header that nobody looked at")
	}
}

func TestRulesAgainstClaims(t *testing.T) {
	f := newFilter(t, configWith(`"rolesClaim":"realm_access.roles"`, `"rules":[
		{"path":"/orders","methods":["GET"],"scopes":["orders:read"]},
		{"path":"/orders","scopes":["orders:read","orders:write"]},
		{"path":"/tenant","headers":[{"name":"x-tenant","exact":"acme"}],"allow":[{"claim":"tenant","in":["acme"]}]},
		{"path":"/either","allowAny":[{"claim":"n","in":[7]},{"claim":"groups","containsAll":["a","b"]}]},
		{"path":"/both","roles":["ops"],"allow":[{"claim":"amr","containsAny":["mfa"],"split":","}]}]`))
	do := func(method, path, member string, headers ...sdk.Header) sdktest.Result {
		token := testtoken.HMAC().Token(claims(member))
		return f.Do(sdktest.Request{Method: method, Path: path, Headers: append(bearer(token), headers...)})
	}
	tenant := func(values ...string) (out []sdk.Header) {
		for _, v := range values {
			out = append(out, sdk.Header{Name: "x-tenant", Value: v})
		}
		return out
	}
	wantPassed(t, do("GET", "/orders", `"scope":"profile orders:read"`))
	wantPassed(t, do("GET", "/orders", `"scope":["orders:read"]`))
	wantDenied(t, do("GET", "/orders", `"scope":"orders:readonly"`), 403, "rule")
	wantDenied(t, do("POST", "/orders", `"scope":"orders:read"`), 403, "rule")
	wantPassed(t, do("POST", "/orders", `"scope":"orders:write orders:read"`))
	wantPassed(t, do("GET", "/tenant/x", `"tenant":"acme"`, tenant("acme")...))
	wantDenied(t, do("GET", "/tenant/x", `"tenant":"evil"`, tenant("acme")...), 403, "rule")
	wantDenied(t, do("GET", "/tenant/x", `"tenant":"acme"`), 403, "no_rule")
	wantDenied(t, do("GET", "/tenant/x", `"tenant":"acme"`, tenant("acme", "evil")...), 403, "ambiguous_header")
	wantPassed(t, do("GET", "/either", `"n":7`))
	wantPassed(t, do("GET", "/either", `"groups":["b","c","a"]`))
	wantDenied(t, do("GET", "/either", `"n":"7","groups":["a"]`), 403, "rule")
	wantPassed(t, do("GET", "/both", `"realm_access":{"roles":["ops"]},"amr":"pwd,mfa"`))
	wantDenied(t, do("GET", "/both", `"realm_access":{"roles":["ops"]},"amr":"pwd"`), 403, "rule")
	wantDenied(t, do("GET", "/both", `"roles":["ops"],"amr":"mfa"`), 403, "rule")
}

// No log line, answer or metric may hold a token, whatever the log level.
func TestTokensAreNotLogged(t *testing.T) {
	f := newFilter(t, config())
	for _, k := range testtoken.All() {
		good := k.Token(userClaims)
		for _, token := range []string{good, good[:len(good)-3] + "AAA", "x" + good} {
			got := f.Do(get("/admin", bearer(token)...))
			if got.Upstream != nil {
				t.Fatal("passed")
			}
			secret := token[len(token)-20:]
			if got.Logged(secret) || strings.Contains(fmt.Sprint(got.Response), secret) || strings.Contains(strings.Join(f.Metrics(), " "), secret) {
				t.Errorf("%s: the token shows in the log %q or in the answer", k.Algorithm, got.Logs)
			}
		}
	}
}

func TestRememberedIsBounded(t *testing.T) {
	key := func(i int) string { return fmt.Sprint(i) }
	fresh := func(size int) *verdict {
		text := strings.Repeat("v", size)
		return &verdict{until: now.Add(time.Hour), values: []*string{nil, &text}}
	}
	t.Run("in number, the least recently used goes", func(t *testing.T) {
		m := newRemembered(3)
		for i := range 3 {
			m.keep(key(i), fresh(0))
		}
		m.find(key(0), now)
		m.keep(key(3), fresh(0))
		for i, want := range []bool{true, false, true, true} {
			if got := m.find(key(i), now) != nil; got != want {
				t.Errorf("entry %d: %v, want %v", i, got, want)
			}
		}
	})
	t.Run("in bytes", func(t *testing.T) {
		m := newRemembered(1000)
		for i := range 100 {
			m.keep(key(i), fresh(maxRememberedBytes/10-len(key(i))))
		}
		if len(m.entries) != 10 || m.bytes > maxRememberedBytes {
			t.Errorf("%d entries, %d bytes", len(m.entries), m.bytes)
		}
		m.keep(key(1000), fresh(maxRememberedBytes+1))
		if len(m.entries) != 10 {
			t.Errorf("%d entries after one that never fits", len(m.entries))
		}
	})
	t.Run("in time, and nothing is left behind", func(t *testing.T) {
		m := newRemembered(10)
		for i := range 10 {
			m.keep(key(i), fresh(100))
			m.keep(key(i), fresh(50)) // again, in place of the first
		}
		if m.bytes != 10*(50+len(key(0))) {
			t.Errorf("%d bytes", m.bytes)
		}
		for i := range 10 {
			if m.find(key(i), now.Add(time.Hour)) != nil {
				t.Errorf("entry %d outlives its token", i)
			}
		}
		if len(m.entries) != 0 || m.bytes != 0 || m.ring.next != &m.ring || m.ring.previous != &m.ring {
			t.Errorf("%d entries and %d bytes are left", len(m.entries), m.bytes)
		}
	})
}

// BenchmarkRemembered is the hot path: a request with a token that is remembered. The host in memory is in the figures.
func BenchmarkRemembered(b *testing.B) {
	for _, k := range testtoken.All() {
		b.Run(k.Algorithm, func(b *testing.B) {
			f := newFilter(b, config())
			r := get("/admin/users?x=1", bearer(k.Token(adminClaims))...)
			b.ReportAllocs()
			for b.Loop() {
				if f.Do(r).Upstream == nil {
					b.Fatal("denied")
				}
			}
		})
	}
}
