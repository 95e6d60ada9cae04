package distributor

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"sync"

	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/oidc"
)

// authorizationKey is the header, and the metadata, with a token.
const authorizationKey = "authorization"

// issuers verify tokens, and keep the keys of each issuer for as long as the policy has it as it is. They may be used concurrently.
type issuers struct {
	mu        sync.Mutex
	verifiers map[access.Issuer]*oidc.Verifier
}

// of is the verifier of an issuer; now are all that the policy has.
func (s *issuers) of(i access.Issuer, now []access.Issuer) *oidc.Verifier {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.verifiers[i]; v != nil {
		return v
	}
	kept := map[access.Issuer]*oidc.Verifier{}
	for _, other := range now {
		if v := s.verifiers[other]; v != nil {
			kept[other] = v
		}
	}
	v := oidc.NewVerifier(oidc.Issuer{URL: i.URL, Audience: i.Audience, JWKS: i.JWKS, UserClaim: i.UserClaim, GroupsClaim: i.GroupsClaim}, nil)
	kept[i] = v
	s.verifiers = kept
	return v
}

// tokenIn is the token of an authorization: Bearer TOKEN (RFC 6750), or Basic with the token as the password, whatever the user is, which is what registry
// clients have.
func tokenIn(authorization string) (string, bool) {
	scheme, value, _ := strings.Cut(authorization, " ")
	value = strings.TrimSpace(value)
	switch strings.ToLower(scheme) {
	case "bearer":
		return value, value != ""
	case "basic":
		raw, err := base64.StdEncoding.DecodeString(value)
		if _, password, ok := strings.Cut(string(raw), ":"); err == nil && ok && password != "" {
			return password, true
		}
	}
	return "", false
}

// bearing is whoever an authorization is of. What it is, is in no error.
func (p *permissions) bearing(ctx context.Context, authorization string) (access.Identity, error) {
	const next = "get a new token from one of the access policy's issuers"
	token, ok := tokenIn(authorization)
	if !ok {
		return access.Identity{}, unauthenticated("the authorization is neither a bearer token nor one as a password", next, nil)
	}
	named, err := oidc.IssuerOf(token)
	if err != nil {
		return access.Identity{}, unauthenticated(err.Error(), next, err)
	}
	all := p.file.Policy().Issuers()
	for _, i := range all {
		if i.URL != named {
			continue
		}
		read, err := p.issuers.of(i, all).Verify(ctx, token)
		switch {
		case errors.Is(err, oidc.ErrUnavailable):
			p.log.Error("the keys of an issuer cannot be fetched, so that its tokens do not count", "issuer", i.URL, "error", err)
			return access.Identity{}, &model.Error{Kind: model.ErrUnavailable, Object: "issuer/" + i.Name, Message: "its keys cannot be fetched, so that nobody can say whether the token counts",
				Next: "try again, or show a client certificate", Cause: oidc.ErrUnavailable}
		case err != nil:
			return access.Identity{}, unauthenticated(err.Error(), next, err)
		}
		return access.OfToken(i.Name, read.User, read.Groups, read.Expires), nil
	}
	return access.Identity{}, unauthenticated("the bearer token is of no issuer that the access policy names", next, nil)
}
