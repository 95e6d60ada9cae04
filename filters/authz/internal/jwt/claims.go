package jwt

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"
)

// farSeconds bounds NumericDate values, to some 4,300 years from 1970 in both directions: a date beyond is as good as the
// bound, and cannot overflow where the skew is added.
const farSeconds = 1 << 37

// checkClaims checks the registered claims of RFC 7519, section 4.1.
func (v *Verifier) checkClaims(claims Object, now time.Time) (*Verified, error) {
	for _, name := range []string{"iss", "sub", "jti"} {
		if value, present := claims[name]; present {
			if _, ok := value.(string); !ok {
				return nil, refuse(ReasonClaims, name+" is no string")
			}
		}
	}
	if claims["iss"] != any(v.Issuer) || v.Issuer == "" {
		return nil, refuse(ReasonIssuer, "")
	}
	if err := v.checkAudience(claims); err != nil {
		return nil, err
	}
	expires, present, err := numericDate(claims, "exp")
	if err != nil {
		return nil, err
	}
	if !present {
		return nil, refuse(ReasonClaims, "exp is missing")
	}
	from, hasFrom, err := numericDate(claims, "nbf")
	if err != nil {
		return nil, err
	}
	if _, _, err := numericDate(claims, "iat"); err != nil {
		return nil, err
	}
	verified := &Verified{Claims: claims, Until: expires.Add(v.ClockSkew)}
	if hasFrom {
		verified.From = from.Add(-v.ClockSkew)
	}
	switch {
	case !now.Before(verified.Until):
		return nil, refuse(ReasonExpired, "")
	case now.Before(verified.From):
		return nil, refuse(ReasonNotYet, "")
	}
	return verified, nil
}

// checkAudience reads aud as a string or a list of strings.
func (v *Verifier) checkAudience(claims Object) error {
	value, present := claims["aud"]
	var audiences []string
	switch value := value.(type) {
	case nil:
		if present {
			return refuse(ReasonClaims, "aud is no string and no list of strings")
		}
	case string:
		audiences = []string{value}
	case []any:
		for _, item := range value {
			audience, ok := item.(string)
			if !ok {
				return refuse(ReasonClaims, "aud is no string and no list of strings")
			}
			audiences = append(audiences, audience)
		}
	default:
		return refuse(ReasonClaims, "aud is no string and no list of strings")
	}
	switch {
	case v.AnyAudience:
		return nil
	case len(v.Audiences) == 0 && !present:
		return nil
	case slices.ContainsFunc(audiences, func(a string) bool { return slices.Contains(v.Audiences, a) }):
		return nil
	}
	return refuse(ReasonAudience, "")
}

// numericDate reads seconds since 1970, which may have a fraction (RFC 7519, section 2).
func numericDate(claims Object, name string) (date time.Time, present bool, err error) {
	value, present := claims[name]
	if !present {
		return time.Time{}, false, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return time.Time{}, true, refuse(ReasonClaims, name+" is no number")
	}
	seconds, parseErr := strconv.ParseFloat(number.String(), 64)
	if parseErr != nil || math.IsNaN(seconds) {
		return time.Time{}, true, refuse(ReasonClaims, name+" is out of range")
	}
	seconds = min(max(seconds, -farSeconds), farSeconds)
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*float64(time.Second))), true, nil
}
