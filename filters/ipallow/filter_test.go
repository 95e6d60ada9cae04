package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

func TestDecisions(t *testing.T) {
	t.Parallel()
	const header = `"client":{"header":"X-Forwarded-For","trustedHops":2},`
	for _, tc := range []struct {
		name, config, source string
		forwarded            []string
		denied               reason
	}{
		{"allowed network", `"default":{"allow":["10.0.0.0/8"]}`, "10.1.2.3:4711", nil, ""},
		{"allowed address", `"default":{"allow":["10.1.2.3"]}`, "10.1.2.3:4711", nil, ""},
		{"another address", `"default":{"allow":["10.1.2.3"]}`, "10.1.2.4:4711", nil, reasonUnlisted},
		{"next network", `"default":{"allow":["10.0.0.0/8"]}`, "11.0.0.0:1", nil, reasonUnlisted},
		{"nobody", `"default":{"allow":[]}`, "10.1.2.3:4711", nil, reasonUnlisted},
		{"deny wins", `"default":{"allow":["10.1.2.3"],"deny":["10.0.0.0/8"]}`, "10.1.2.3:4711", nil, reasonListed},
		{"everybody but", `"default":{"allow":["0.0.0.0/0","::/0"],"deny":["192.0.2.0/24"]}`, "198.51.100.1:1", nil, ""},
		{"IPv6", `"default":{"allow":["2001:db8::/32"]}`, "[2001:db8::1]:4711", nil, ""},
		{"IPv6 elsewhere", `"default":{"allow":["2001:db8::/32"]}`, "[2001:db9::1]:4711", nil, reasonUnlisted},
		{"IPv4 as IPv6 is IPv4", `"default":{"allow":["::/0","0.0.0.0/0"],"deny":["10.0.0.0/8"]}`, "[::ffff:10.0.0.1]:1", nil, reasonListed},
		{"all of IPv4 is not IPv6", `"default":{"allow":["0.0.0.0/0"]}`, "[2001:db8::1]:1", nil, reasonUnlisted},
		{"two lengths", `"default":{"allow":["10.0.0.0/8","192.0.2.0/24"]}`, "192.0.2.7:1", nil, ""},
		{"no rule", `"rules":[{"match":{"methods":["PUT"]},"config":{"allow":["0.0.0.0/0"]}}]`, "10.0.0.1:1", nil, reasonNoRule},
		{"a rule", `"default":{"allow":[]},"rules":[{"match":{"methods":["GET"]},"config":{"allow":["10.0.0.0/8"]}}]`, "10.0.0.1:1", nil, ""},
		{"a pipe has no address", `"default":{"allow":["0.0.0.0/0"]}`, "/run/envoy.sock", nil, reasonNoAddress},
		{"behind two proxies", header + `"default":{"allow":["192.0.2.1"]}`, "10.0.0.1:1", []string{"192.0.2.1, 10.0.0.9"}, ""},
		{"in two headers", header + `"default":{"allow":["192.0.2.1"]}`, "10.0.0.1:1", []string{"192.0.2.1", "10.0.0.9"}, ""},
		{"what the client wrote before", header + `"default":{"allow":["192.0.2.1"]}`, "10.0.0.1:1", []string{"192.0.2.1, 198.51.100.7, 10.0.0.9"}, reasonUnlisted},
		{"too few proxies", header + `"default":{"allow":["192.0.2.1","10.0.0.0/8"]}`, "10.0.0.1:1", []string{"192.0.2.1"}, reasonNoAddress},
		{"no header", header + `"default":{"allow":["0.0.0.0/0"]}`, "10.0.0.1:1", nil, reasonNoAddress},
		{"an empty element", header + `"default":{"allow":["0.0.0.0/0"]}`, "10.0.0.1:1", []string{"192.0.2.1, , 10.0.0.9"}, reasonNoAddress},
		{"a word", header + `"default":{"allow":["0.0.0.0/0"]}`, "10.0.0.1:1", []string{"unknown, 10.0.0.9"}, reasonNoAddress},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := sdktest.New(t, configure, "{"+tc.config+"}")
			var headers []sdk.Header
			for _, value := range tc.forwarded {
				headers = append(headers, sdk.Header{Name: "x-forwarded-for", Value: value})
			}
			got := f.Do(sdktest.Request{Headers: headers, Properties: map[string]any{"source.address": tc.source}})
			if (got.Upstream == nil) != (tc.denied != "") {
				t.Fatalf("passed: %v; details %s", got.Upstream != nil, got.Details)
			}
			if tc.denied == "" {
				return
			}
			if got.Details != "ipallow_"+string(tc.denied) || got.Response.Status() != 403 {
				t.Errorf("details %s, status %d", got.Details, got.Response.Status())
			}
			if n := f.Metric(sdk.MetricName("ipallow.denied", sdk.Tag{Name: "reason", Value: string(tc.denied)})); n != 1 {
				t.Errorf("counted %d", n)
			}
		})
	}
}

func TestNoAddressAtAll(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"default":{"allow":["0.0.0.0/0","::/0"]},"status":404}`)
	if got := f.Do(sdktest.Request{Properties: map[string]any{"source.address": ""}}); got.Details != "ipallow_no_address" || got.Response.Status() != 404 {
		t.Errorf("details %s, status %d", got.Details, got.Response.Status())
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, config, want string }{
		{"nothing", ``, "neither default nor rules"},
		{"no allow", `{"default":{"deny":["10.0.0.1"]}}`, "default.allow: required field is missing"},
		{"host bits", `{"default":{"allow":["10.0.0.1/8"]}}`, `default.allow[0]: "10.0.0.1/8" has bits set behind the network: write 10.0.0.0/8`},
		{"a name", `{"default":{"allow":["localhost"]}}`, `default.allow[0]: "localhost" is neither an IP address nor a network`},
		{"a zone", `{"default":{"allow":["fe80::1%eth0"]}}`, "is neither an IP address nor a network"},
		{"IPv4 as IPv6", `{"default":{"allow":["::ffff:10.0.0.0/104"]}}`, "write the network as IPv4"},
		{"too long a prefix", `{"default":{"allow":["10.0.0.0/33"]}}`, "is no network"},
		{"status", `{"default":{"allow":[]},"status":200}`, "status: want at least 400, got 200"},
		{"hops", `{"default":{"allow":[]},"client":{"header":"x","trustedHops":0}}`, "client.trustedHops: want at least 1, got 0"},
		{"header", `{"default":{"allow":[]},"client":{"header":"x y"}}`, "client.header: "},
		{"in a rule", `{"rules":[{"match":{},"config":{"allow":["x"]}}]}`, `rules[0].config.allow[0]: "x" is neither`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := sdktest.Configure(t, configure, tc.config)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, want string }{
		{"10.0.0.1", "10.0.0.1"},
		{" \t10.0.0.1 ", "10.0.0.1"},
		{"10.0.0.1:80", "10.0.0.1"},
		{"2001:db8::1", "2001:db8::1"},
		{"[2001:db8::1]", "2001:db8::1"},
		{"[2001:db8::1]:80", "2001:db8::1"},
		{"::ffff:10.0.0.1", "10.0.0.1"},
		{"[10.0.0.1]", ""},
		{"10.0.0.01", ""},
		{"10.0.0", ""},
		{"fe80::1%eth0", ""},
		{"10.0.0.1:port", ""},
		{"_hidden", ""},
		{"", ""},
	} {
		got, ok := parseAddress(tc.in)
		if ok != (tc.want != "") || ok && got.String() != tc.want {
			t.Errorf("%q is %v, %v; want %q", tc.in, got, ok, tc.want)
		}
	}
}

// FuzzParseAddress wants no panic, and an address that is compared as what it is.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"10.0.0.1", "[::1]:80", "::ffff:1.2.3.4", "[", "]", "[]", ":", "1.2.3.4:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if addr, ok := parseAddress(s); ok && (!addr.IsValid() || addr.Is4In6() || addr.Zone() != "") {
			t.Errorf("%q is %v", s, addr)
		}
	})
}

func TestFromEnd(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		values []string
		n      int
		want   string
		ok     bool
	}{
		{[]string{"a"}, 1, "a", true},
		{[]string{"a,b"}, 1, "b", true},
		{[]string{"a,b"}, 2, "a", true},
		{[]string{"a,b", "c"}, 3, "a", true},
		{[]string{"a,b", "c"}, 4, "", false},
		{[]string{",a"}, 2, "", true},
		{[]string{""}, 1, "", true},
		{nil, 1, "", false},
	} {
		if got, ok := fromEnd(tc.values, tc.n); got != tc.want || ok != tc.ok {
			t.Errorf("%q from the end %d: %q, %v", tc.values, tc.n, got, ok)
		}
	}
}

// BenchmarkContains shows that the size of a list does not matter.
func BenchmarkContains(b *testing.B) {
	var list []Network
	for i := range 10_000 {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0})
		list = append(list, Network{netip.PrefixFrom(addr, 24)})
	}
	s := newPrefixSet(list)
	addr := netip.MustParseAddr("10.1.2.3")
	for b.Loop() {
		if !s.contains(addr) {
			b.Fatal("not found")
		}
	}
}
