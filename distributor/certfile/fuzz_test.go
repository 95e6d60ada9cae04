package certfile

import (
	"testing"
)

// FuzzBundle reads whatever a file of authorities may hold. What is taken has an authority in it.
func FuzzBundle(f *testing.F) {
	a := &authority{t: new(testing.T)}
	a.cert, a.key = a.issue(nil)
	f.Add(a.text())
	f.Add(append(a.text(), a.text()...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		b, err := parseBundle("file", content)
		if err != nil {
			return
		}
		if b.first == nil || b.pool == nil || b.pool.Equal(nil) {
			t.Errorf("%q is taken and has no authority", content)
		}
	})
}
