package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// The headers of the CORS protocol.
const (
	headerOrigin           = "origin"
	headerRequestMethod    = "access-control-request-method"
	headerAllowOrigin      = "access-control-allow-origin"
	headerAllowCredentials = "access-control-allow-credentials"
	headerAllowMethods     = "access-control-allow-methods"
	headerAllowHeaders     = "access-control-allow-headers"
	headerMaxAge           = "access-control-max-age"
	headerExposeHeaders    = "access-control-expose-headers"
	headerVary             = "vary"
)

// policy is a compiled Policy.
type policy struct {
	origins     originSet
	credentials bool
	denyOthers  bool
	// preflight and actual are the headers for an origin that is listed, besides the origin itself.
	preflight, actual []sdk.Header
}

func compilePolicy(at string, from *Policy) (*policy, error) {
	p := &policy{credentials: from.AllowCredentials, denyOthers: from.DenyOthers}
	for i, origin := range from.AllowOrigins {
		if err := p.origins.add(origin); err != nil {
			return nil, sdk.ConfigErrorf(at+".allowOrigins["+strconv.Itoa(i)+"]", "%v", err)
		}
	}
	for i, method := range from.AllowMethods {
		if strings.ContainsAny(method, " \t\r\n\x00,:;/") {
			return nil, sdk.ConfigErrorf(at+".allowMethods["+strconv.Itoa(i)+"]", "%q is no method", method)
		}
	}
	if err := p.checkCredentials(at, from); err != nil {
		return nil, err
	}
	if from.AllowCredentials {
		p.actual = append(p.actual, sdk.Header{Name: headerAllowCredentials, Value: "true"})
	}
	p.preflight = slices.Clone(p.actual)
	add := func(to *[]sdk.Header, name, value string) {
		if value != "" {
			*to = append(*to, sdk.Header{Name: name, Value: value})
		}
	}
	add(&p.preflight, headerAllowMethods, strings.Join(from.AllowMethods, ", "))
	add(&p.preflight, headerAllowHeaders, join(from.AllowHeaders))
	add(&p.preflight, headerMaxAge, strconv.Itoa(from.MaxAgeSeconds))
	add(&p.actual, headerExposeHeaders, join(from.ExposeHeaders))
	return p, nil
}

// checkCredentials refuses * together with credentials. Browsers refuse it too, or take the star for a name; and whoever
// echoes every origin instead lets every page act for its visitor.
func (p *policy) checkCredentials(at string, from *Policy) error {
	if !from.AllowCredentials {
		return nil
	}
	for _, list := range []struct {
		field string
		open  bool
	}{
		{"allowOrigins", p.origins.any || slices.Contains(from.AllowOrigins, nullOrigin)},
		{"allowMethods", slices.Contains(from.AllowMethods, "*")},
		{"allowHeaders", slices.Contains(from.AllowHeaders, "*")},
		{"exposeHeaders", slices.Contains(from.ExposeHeaders, "*")},
	} {
		if list.open {
			return sdk.ConfigErrorf(at+"."+list.field, "with allowCredentials it must list names: neither * nor null")
		}
	}
	return nil
}

// origin is the value of access-control-allow-origin for an origin that is listed.
func (p *policy) origin(from string) string {
	if p.origins.any {
		return anyOrigin
	}
	return from
}

// varies says whether responses depend on the origin.
func (p *policy) varies() bool { return !p.origins.any || p.denyOthers }

func join(names []sdk.HeaderName) string {
	var out []string
	for _, n := range names {
		out = append(out, string(n))
	}
	return strings.Join(out, ", ")
}
