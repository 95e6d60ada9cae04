package clients

import (
	"strings"
	"testing"
)

var known = map[string]struct{}{"ann": {}, "bob": {}}

func TestRule(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name             string
		config           *Access
		public, ann, bob bool
	}{
		{"no rule", nil, false, true, true},
		{"nothing set", &Access{}, false, true, true},
		{"public", &Access{Public: true}, true, true, true},
		{"one client", &Access{Clients: []string{"ann"}}, false, true, false},
		{"both", &Access{Clients: []string{"ann", "bob"}}, false, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var r *Rule
			if tc.config != nil {
				var err error
				if r, err = Compile("default", tc.config, known); err != nil {
					t.Fatal(err)
				}
			}
			if r.Public() != tc.public || r.Lets("ann") != tc.ann || r.Lets("bob") != tc.bob {
				t.Errorf("public %v, ann %v, bob %v", r.Public(), r.Lets("ann"), r.Lets("bob"))
			}
		})
	}
}

func TestCompileErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		config Access
		want   string
	}{
		{"public for some", Access{Public: true, Clients: []string{"ann"}}, "default.public: excludes clients"},
		{"a client without a key", Access{Clients: []string{"ann", "eve"}}, `default.clients[1]: no key is of the client "eve"`},
	} {
		if _, err := Compile("default", &tc.config, known); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one with %q", tc.name, err, tc.want)
		}
	}
}
