package main

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// buckets is how many parts requests are split into: a part is 0.001 percent.
const buckets = 100_000

// experiment is a checked Experiment.
type experiment struct {
	name                   string
	match                  sdk.Matcher
	header, responseHeader string
	variants               []variant
	force                  []force
	key                    Key
	cookie                 Cookie
}

// variant is a checked Variant.
type variant struct {
	name             string
	host, pathPrefix string
	// below is the first bucket that is not this variant's any more.
	below uint64
	count sdk.Counter
}

type force struct {
	match   sdk.Matcher
	variant *variant
}

// choice is the variant of a request.
type choice struct {
	variant *variant
	// remember is set where the client has to be told.
	remember bool
}

func compileExperiment(p *sdk.Plugin, at string, from *Experiment) (*experiment, error) {
	x := &experiment{name: from.Name, header: string(from.Header), responseHeader: string(from.ResponseHeader), key: from.Key, cookie: from.Cookie}
	if !isName(x.name) {
		return nil, sdk.ConfigErrorf(at+".name", "%q: want letters, digits, - and _", x.name)
	}
	var err error
	if x.match, err = from.Match.Compile(at + ".match"); err != nil {
		return nil, err
	}
	if err := x.compileVariants(p, at, from.Variants); err != nil {
		return nil, err
	}
	for i := range from.Force {
		path := at + ".force[" + strconv.Itoa(i) + "]"
		f := force{variant: x.variant(from.Force[i].Variant)}
		if f.variant == nil {
			return nil, sdk.ConfigErrorf(path+".variant", "there is no variant %q", from.Force[i].Variant)
		}
		if f.match, err = from.Force[i].Match.Compile(path + ".match"); err != nil {
			return nil, err
		}
		x.force = append(x.force, f)
	}
	set := 0
	for _, is := range []bool{x.key.Header != "", x.key.Cookie != "", x.key.Address} {
		if is {
			set++
		}
	}
	switch {
	case set > 1:
		return nil, sdk.ConfigErrorf(at+".key", "want one of header, cookie and address")
	case !isCookieName(x.key.Cookie):
		return nil, sdk.ConfigErrorf(at+".key.cookie", "%q is no name of a cookie", x.key.Cookie)
	case !isCookieName(x.cookie.Name):
		return nil, sdk.ConfigErrorf(at+".cookie.name", "%q is no name of a cookie", x.cookie.Name)
	case !strings.HasPrefix(x.cookie.Path, "/") || strings.ContainsAny(x.cookie.Path, "; \t\r\n\x00"):
		return nil, sdk.ConfigErrorf(at+".cookie.path", "%q is no path", x.cookie.Path)
	}
	return x, nil
}

func (x *experiment) compileVariants(p *sdk.Plugin, at string, list []Variant) error {
	var sum uint64
	x.variants = make([]variant, len(list))
	for i, v := range list {
		path := at + ".variants[" + strconv.Itoa(i) + "]"
		share := math.Round(v.Percent * buckets / 100)
		switch {
		case !isName(v.Name):
			return sdk.ConfigErrorf(path+".name", "%q: want letters, digits, - and _", v.Name)
		case x.variant(v.Name) != nil:
			return sdk.ConfigErrorf(path+".name", "there is another variant %q", v.Name)
		case math.Abs(share-v.Percent*buckets/100) > 1e-6:
			return sdk.ConfigErrorf(path+".percent", "%v: want steps of 0.001", v.Percent)
		case strings.ContainsAny(v.Host, "/ \t\r\n\x00@"):
			return sdk.ConfigErrorf(path+".host", "%q is no host", v.Host)
		case v.PathPrefix != "" && (v.PathPrefix[0] != '/' || strings.HasSuffix(v.PathPrefix, "/") || strings.ContainsAny(v.PathPrefix, "?# \t\r\n\x00")):
			return sdk.ConfigErrorf(path+".pathPrefix", "%q: want a path as /v2, without a slash at its end", v.PathPrefix)
		}
		sum += uint64(share)
		x.variants[i] = variant{name: v.Name, host: v.Host, pathPrefix: v.PathPrefix, below: sum}
		var err error
		if x.variants[i].count, err = p.Counter("abtest.requests", sdk.Tag{Name: "experiment", Value: x.name}, sdk.Tag{Name: "variant", Value: v.Name}); err != nil {
			return err
		}
	}
	if sum != buckets {
		return sdk.ConfigErrorf(at+".variants", "their percent make %v, want 100", float64(sum)*100/buckets)
	}
	return nil
}

// variant is the variant of that name, nil if there is none.
func (x *experiment) variant(name string) *variant {
	for i := range x.variants {
		if x.variants[i].name == name {
			return &x.variants[i]
		}
	}
	return nil
}

// choose finds the variant of a request that takes part.
func (x *experiment) choose(r *sdk.Request) choice {
	for i := range x.force {
		if x.force[i].match.Matches(r) {
			return choice{variant: x.force[i].variant}
		}
	}
	if x.cookie.Name != "" {
		if name, ok := cookieValue(r.Headers(), x.cookie.Name); ok {
			if v := x.variant(name); v != nil {
				return choice{variant: v}
			}
		}
	}
	key, known := x.keyOf(r)
	switch {
	case known:
		return choice{x.at(bucketOf(x.name, key)), x.cookie.Name != ""}
	case x.cookie.Name != "":
		return choice{x.at(rand.Uint64N(buckets)), true}
	case x.key == Key{}:
		return choice{x.at(rand.Uint64N(buckets)), false}
	}
	return choice{variant: &x.variants[0]}
}

// at is the variant that a bucket belongs to.
func (x *experiment) at(bucket uint64) *variant {
	for i := range x.variants {
		if bucket < x.variants[i].below {
			return &x.variants[i]
		}
	}
	return &x.variants[0] // not reached: the shares make all buckets
}

// keyOf is what a request is known by. It is false for a request that does not have it, or has it empty.
func (x *experiment) keyOf(r *sdk.Request) (string, bool) {
	switch {
	case x.key.Header != "":
		value, _ := r.Headers().Get(string(x.key.Header))
		return value, value != ""
	case x.key.Cookie != "":
		value, _ := cookieValue(r.Headers(), x.key.Cookie)
		return value, value != ""
	case x.key.Address:
		source, err := r.Properties().String("source.address")
		if err != nil {
			return "", false
		}
		// The port is another one for each connection.
		addr, err := netip.ParseAddrPort(source)
		return addr.Addr().Unmap().String(), err == nil
	}
	return "", false
}

// bucketOf is the bucket of a key. The hash is SHA-256, so that whoever analyses an experiment can compute it elsewhere: the
// first eight bytes, as a big-endian number, of the hash of name, NUL and key, modulo the number of buckets.
func bucketOf(name, key string) uint64 {
	sum := sha256.Sum256([]byte(name + "\x00" + key))
	return binary.BigEndian.Uint64(sum[:8]) % buckets
}

func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return s != ""
}
