package api_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

func TestDecodeDocuments(t *testing.T) {
	const one = "apiVersion: waft.dev/v1\nkind: Resource\nmetadata: {collection: flags, name: a}\nspec: {\"@type\": a/b, n: 1}\n"
	got, err := api.DecodeDocuments([]byte("# a comment\n---\n" + one + "---\n---\n" + one))
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	if r, ok := got[1].(*waftv1.Resource); !ok || r.GetMetadata().GetName() != "a" || r.GetSpec().GetStructValue().GetFields()["n"].GetNumberValue() != 1 {
		t.Errorf("got %v", got[1])
	}
	if got, err := api.DecodeDocuments([]byte(`{"apiVersion":"waft.dev/v1","kind":"Collection","metadata":{"name":"flags"},"spec":{"lists":[{"path":"rules","key":"name"}]}}`)); err != nil || len(got) != 1 {
		t.Errorf("JSON: %v, %v", got, err)
	}
	for name, test := range map[string]struct {
		file string
		says []string
	}{
		"nothing":            {"", []string{"holds no document"}},
		"only comments":      {"# x\n---\n", []string{"holds no document"}},
		"the second":         {one + "---\n" + strings.Replace(one, "name: a", "nam: a", 1), []string{"document 2", "metadata.nam", "line 8"}},
		"a list":             {one + "---\n- a\n", []string{"document 2", "not a mapping"}},
		"syntax":             {one + "---\na: [\n", []string{"document 2", "not YAML"}},
		"too large":          {strings.Repeat("#", api.MaxFileBytes+1), []string{"3145728"}},
		"a number too large": {strings.Replace(one, "n: 1", "n: 9007199254740993", 1), []string{"document 1", "spec.n", "quotes"}},
	} {
		_, err := api.DecodeDocuments([]byte(test.file))
		if !errors.Is(err, model.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, word := range test.says {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %q does not say %q", name, err, word)
			}
		}
	}
}
