package gates

import (
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// FuzzAnswer reads whatever a webhook may answer. It passes by nothing but the word.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"verdict":"pass","detail":"all is well"}`))
	f.Add([]byte(`{"verdict":"PASS"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		switch verdict, detail := readAnswer(text); verdict {
		case model.VerdictPass, model.VerdictFail:
		case model.VerdictInconclusive:
		default:
			t.Errorf("%q is %q (%s)", text, verdict, detail)
		}
	})
}
