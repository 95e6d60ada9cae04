package trust

import "testing"

func TestPatterns(t *testing.T) {
	for _, tc := range []struct {
		pattern, repository string
		want                bool
	}{
		{"r.example/a", "r.example/a", true}, {"r.example/a", "r.example/ab", false}, {"r.example/a", "r.example/a/b", false}, {"r.example/a/b", "r.example/a", false},
		{"r.example/*", "r.example/a", true}, {"r.example/*", "r.example/a/b", false}, {"r.example/*/b", "r.example/a/b", true},
		{"r.example/**", "r.example/a", true}, {"r.example/**", "r.example/a/b/c", true}, {"r.example/a/**", "r.example/a", false}, {"r.example/a/**", "r.example/ab/c", false},
		{"r.example/team-*", "r.example/team-", true}, {"r.example/a*b*c", "r.example/aXbYc", true}, {"r.example/a*b*c", "r.example/ac", false}, {"r.example/a*a", "r.example/a", false},
		{"*.example/a", "r.example/a", true}, {"*.example/a", "example/a", false}, {"*/a", "evil.test/a", true}, {"r.example:5000/a", "r.example/a", false},
		{"[::1]:5000/a", "[::1]:5000/a", true}, {"r.example/a", "R.example/a", false},
	} {
		if err := validPattern(tc.pattern); err != nil {
			t.Errorf("%s: %v", tc.pattern, err)
		}
		if got := matches(tc.pattern, tc.repository); got != tc.want {
			t.Errorf("%s matches %s: %v, want %v", tc.pattern, tc.repository, got, tc.want)
		}
	}
	for _, pattern := range []string{"", "a", "**", "**/a", "a/**/b", "a/b**", "a//b", "/a", "a/", "a/b?", "a/b\n", "a/ä"} {
		if validPattern(pattern) == nil {
			t.Errorf("%q is taken", pattern)
		}
	}
}

func TestContains(t *testing.T) {
	for _, tc := range []struct {
		have, want string
		yes        bool
	}{
		{`{"a":1}`, ``, true}, {`{"a":1}`, `null`, true}, {`{"a":1}`, `{}`, true}, {`{"a":1,"b":2}`, `{"a":1}`, true}, {`{"a":1}`, `{"a":2}`, false}, {`{"a":1}`, `{"a":"1"}`, false},
		{`{}`, `{"a":null}`, false}, {`{"a":null}`, `{"a":null}`, true}, {`{"a":[1,2,3]}`, `{"a":[3,1]}`, true}, {`{"a":[1]}`, `{"a":[1,2]}`, false}, {`{"a":1}`, `{"a":[1]}`, false},
		{`{"a":[{"n":"x","v":1},{"n":"y"}]}`, `{"a":[{"n":"x"}]}`, true}, {`{"a":[{"n":"x"},{"v":1}]}`, `{"a":[{"n":"x","v":1}]}`, false}, {`{"a":{"b":true}}`, `{"a":{"b":false}}`, false},
		{`[]`, `{"a":1}`, false}, {`{"a":9007199254740993}`, `{"a":9007199254740992}`, false}, {`not JSON`, `{"a":1}`, false}, {`{}`, `{"a":[]}`, false}, {`{"a":[1]}`, `{"a":[]}`, true},
	} {
		if got := contains([]byte(tc.have), []byte(tc.want)); got != tc.yes {
			t.Errorf("%s contains %s: %v, want %v", tc.have, tc.want, got, tc.yes)
		}
	}
}
