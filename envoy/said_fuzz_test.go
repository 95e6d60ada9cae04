package envoy

import (
	"errors"
	"strings"
	"testing"
)

// FuzzParseVersion reads whatever a program may say that is thought to be an Envoy. What is taken for a version stands there, is read again as the same, and is short.
func FuzzParseVersion(f *testing.F) {
	f.Add("\n/usr/bin/envoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL\n\n")
	f.Add("envoy  version: abc/1.41.0-dev/Modified/DEBUG/BoringSSL")
	f.Add("version: /+1.04.99999999999999999999-/")
	f.Add("version: /+1.04.0/")
	f.Add("nginx/1.25")
	f.Add("version: " + strings.Repeat("x", 1<<17))
	f.Fuzz(func(t *testing.T, output string) {
		v, err := ParseVersion(output)
		if err != nil {
			if !errors.Is(err, ErrVersion) || v != (Version{}) || len(err.Error()) > 2048 {
				t.Errorf("%.4096q is %+v, and %.4096v", output, v, err)
			}
			return
		}
		if !strings.Contains(output, v.Build) || len(v.Build) > maxBuild || v.Number.Major < 0 || v.Number.Minor < 0 || v.Number.Patch < 0 {
			t.Errorf("%.4096q is %+.4096v", output, v)
		}
		if again, err := ParseNumber(v.Number.String()); err != nil || again != v.Number {
			t.Errorf("%.4096q is %s, and that is %s (%v)", output, v.Number, again, err)
		}
		if core, _, _ := strings.Cut(strings.Split(v.Build, "/")[1], "-"); strings.Trim(core, "0123456789.") != "" {
			t.Errorf("%q is the version %s", core, v.Number)
		}
		if again, err := ParseVersion("envoy  version: " + v.Build + "\n"); err != nil || again != v {
			t.Errorf("%.4096q is %+v, and that is %+v (%v)", output, v, again, err)
		}
	})
}
