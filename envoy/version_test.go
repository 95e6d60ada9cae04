package envoy

import (
	"errors"
	"strings"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for _, test := range []struct {
		name, output string
		want         Version
		fails        bool
	}{
		{
			name:   "a release",
			output: "\n/usr/bin/envoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL\n\n",
			want:   Version{Number{1, 40, 0}, "9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL"},
		},
		{
			name:   "a development build",
			output: "envoy  version: abc/1.41.0-dev/Modified/DEBUG/BoringSSL",
			want:   Version{Number{1, 41, 0}, "abc/1.41.0-dev/Modified/DEBUG/BoringSSL"},
		},
		{name: "another program", output: "nginx/1.25", fails: true},
		{name: "no number", output: "envoy version: abc", fails: true},
		{name: "two parts", output: "envoy version: abc/1.40/Clean", fails: true},
		{name: "negative", output: "envoy version: abc/1.-4.0/Clean", fails: true},
		{name: "a sign", output: "envoy version: abc/1.+40.0/Clean", fails: true},
		{name: "too long", output: "envoy version: abc/1.40.0/" + strings.Repeat("x", maxBuild), fails: true},
		{name: "empty", fails: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseVersion(test.output)
			if got != test.want || (err != nil) != test.fails || test.fails && !errors.Is(err, ErrVersion) {
				t.Errorf("ParseVersion = %+v, %v; want %+v, fails %v", got, err, test.want, test.fails)
			}
		})
	}
}

func TestNumberCapabilities(t *testing.T) {
	for _, test := range []struct {
		number      Number
		chain, path bool
		profile     string
	}{
		{Number{1, 36, 4}, false, false, "envoy-1.36"},
		{Number{1, 37, 0}, false, true, "envoy-1.37"},
		{Number{1, 38, 2}, false, true, "envoy-1.38"},
		{Number{1, 39, 0}, true, true, "envoy-1.39"},
		{Number{1, 40, 0}, true, true, "envoy-1.40"},
		{Number{2, 0, 0}, true, true, "envoy-2.0"},
	} {
		if test.number.HasFilterChain() != test.chain || test.number.hasAdminAllowPaths() != test.path || test.number.Profile() != test.profile {
			t.Errorf("%s: filter chain %v, allow paths %v, profile %s", test.number, test.number.HasFilterChain(), test.number.hasAdminAllowPaths(), test.number.Profile())
		}
	}
}
