package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Limits of a token.
const (
	// MaxTokenBytes bounds a token.
	MaxTokenBytes = 16 << 10
	// Leeway is how far the clocks of the issuer and of this machine may be apart.
	Leeway = time.Minute
	// maxUserBytes bounds the name of a user, which with its issuer's stands in the audit log, and maxGroups their groups.
	maxUserBytes = 192
	maxGroups    = 1000
)

// Errors.
var (
	// ErrToken means that a token does not count.
	ErrToken = errors.New("the bearer token does not count")
	// ErrUnavailable means that nobody can say whether it does.
	ErrUnavailable = errors.New("the issuer's keys cannot be fetched")
)

// algorithms are those that a token may be signed by: by asymmetric keys, which the issuer alone has.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// Issuer says whose tokens count, and how they are read.
type Issuer struct {
	// URL is the issuer, as tokens name it (iss).
	URL string
	// Audience is what tokens must be for (aud).
	Audience string
	// JWKS is where its keys are. Empty: where its discovery document says.
	JWKS string
	// UserClaim and GroupsClaim are the claims with the user's name and groups.
	UserClaim, GroupsClaim string
}

// Token is what a token proves.
type Token struct {
	// User is the value of the UserClaim.
	User   string
	Groups []string
	// Expires is when it no longer counts.
	Expires time.Time
}

// Verifier reads the tokens of an issuer. It may be used concurrently.
type Verifier struct {
	issuer Issuer
	keys   *keySet
	now    func() time.Time
}

// NewVerifier makes a Verifier; nothing is fetched before the first token. Nil for now means time.Now.
func NewVerifier(issuer Issuer, now func() time.Time) *Verifier {
	if now == nil {
		now = time.Now
	}
	client := &http.Client{Timeout: fetchTimeout, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		const most = 3
		if len(via) >= most {
			return errors.New("too many redirects")
		}
		return CheckURL(r.URL.String())
	}}
	return &Verifier{issuer: issuer, now: now, keys: &keySet{issuer: issuer.URL, url: issuer.JWKS, client: client, now: now}}
}

// CheckURL says why keys must not be fetched from there: whoever can change them on their way is the issuer.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("is not a URL")
	case u.Host == "" || u.User != nil || u.Fragment != "":
		return errors.New("write https://HOST/PATH")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()):
		return nil
	}
	return errors.New("use https, or http on loopback")
}

// Verify reads a token. Errors wrap ErrToken or ErrUnavailable, and have nothing of the token in them but its times.
func (v *Verifier) Verify(ctx context.Context, raw string) (Token, error) {
	parsed, err := parse(raw)
	if err != nil {
		return Token{}, err
	}
	keys, err := v.keys.find(ctx, parsed.Headers[0].KeyID)
	if err != nil {
		return Token{}, err
	}
	var standard jwt.Claims
	var claims map[string]any
	verified := false
	for _, k := range keys {
		if k.Algorithm != "" && k.Algorithm != parsed.Headers[0].Algorithm {
			continue
		}
		if parsed.Claims(k, &standard, &claims) == nil {
			verified = true
			break
		}
	}
	if !verified {
		return Token{}, fmt.Errorf("%w: it is not signed by a key that its issuer publishes", ErrToken)
	}
	if standard.Expiry == nil {
		return Token{}, fmt.Errorf("%w: it has no end (exp)", ErrToken)
	}
	expected := jwt.Expected{Issuer: v.issuer.URL, AnyAudience: jwt.Audience{v.issuer.Audience}, Time: v.now()}
	if err := standard.ValidateWithLeeway(expected, Leeway); err != nil {
		return Token{}, fmt.Errorf("%w: %s", ErrToken, said(err, standard))
	}
	user, ok := claims[v.issuer.UserClaim].(string)
	if !ok || user == "" || len(user) > maxUserBytes || !printable(user) {
		return Token{}, fmt.Errorf("%w: its claim %s names no user", ErrToken, v.issuer.UserClaim)
	}
	// Some issuers say it in a string.
	if is, told := claims["email_verified"]; v.issuer.UserClaim == "email" && told && is != true && is != "true" {
		return Token{}, fmt.Errorf("%w: its email is not verified", ErrToken)
	}
	return Token{User: user, Groups: groups(claims[v.issuer.GroupsClaim]), Expires: standard.Expiry.Time().Add(Leeway)}, nil
}

// said is why a token's claims are not as expected.
func said(err error, claims jwt.Claims) string {
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return "it has expired at " + claims.Expiry.Time().UTC().Format(time.RFC3339)
	case errors.Is(err, jwt.ErrNotValidYet), errors.Is(err, jwt.ErrIssuedInTheFuture):
		return "it is from the future; compare the clocks"
	case errors.Is(err, jwt.ErrInvalidAudience):
		return "it is for another audience (aud)"
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return "it is of another issuer (iss)"
	}
	return "its claims are not as expected"
}

func printable(s string) bool {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// groups reads a list of names, or one; what is something else is no group.
func groups(claim any) []string {
	switch c := claim.(type) {
	case string:
		return []string{c}
	case []any:
		var out []string
		for _, g := range c {
			if name, ok := g.(string); ok && len(out) < maxGroups {
				out = append(out, name)
			}
		}
		return out
	}
	return nil
}

// IssuerOf is the issuer that a token says it is of. Nothing is verified: it says who to ask.
func IssuerOf(raw string) (string, error) {
	parsed, err := parse(raw)
	if err != nil {
		return "", err
	}
	var payload json.RawMessage
	var claims struct {
		Issuer string `json:"iss"`
	}
	if err := parsed.UnsafeClaimsWithoutVerification(&payload, &claims); err != nil || claims.Issuer == "" {
		return "", fmt.Errorf("%w: it names no issuer (iss)", ErrToken)
	}
	return claims.Issuer, nil
}

func parse(raw string) (*jwt.JSONWebToken, error) {
	if len(raw) > MaxTokenBytes {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrToken, MaxTokenBytes)
	}
	parsed, err := jwt.ParseSigned(raw, algorithms)
	if err != nil || len(parsed.Headers) != 1 {
		return nil, fmt.Errorf("%w: it is no JSON Web Token that is signed by an asymmetric key", ErrToken)
	}
	return parsed, nil
}
