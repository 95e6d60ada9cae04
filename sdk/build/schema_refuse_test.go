package build

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"strings"
	"testing"
)

// A tag that would silently mean nothing fails the build.
func TestTagsThatSayNothing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, field, want string }{
		{"range of a string", "A string `json:\"a\" min:\"1\"`", "Config.A: the tag min says nothing about a string"},
		{"length of a number", "A int `json:\"a\" maxLength:\"1\"`", "Config.A: the tag maxLength says nothing about a int"},
		{"pattern of a bool", "A bool `json:\"a\" pattern:\"x\"`", "the tag pattern says nothing about a bool"},
		{"items of a string", "A string `json:\"a\" minItems:\"1\"`", "the tag minItems says nothing about a string"},
		{"items of an array", "A [2]int `json:\"a\" minItems:\"1\"`", "say nothing about an array"},
		{"length of bytes", "A []byte `json:\"a\" minLength:\"1\"`", "the tag minLength says nothing about a []byte"},
		{"range of a struct", "A struct{} `json:\"a\" min:\"1\"`", "the tag min says nothing about a struct{}"},
		{"enum of anything", "A any `json:\"a\" enum:\"x\"`", "the tag enum says nothing about a any"},
		{"range in a list of strings", "A []string `json:\"a\" max:\"1\"`", "Config.A[]: the tag max says nothing about a string"},
		{"bound beyond the type", "A uint8 `json:\"a\" max:\"256\"`", "Config.A: the bound 256 does not fit into uint8"},
		{"bound that is no number", "A int `json:\"a\" max:\"ten\"`", "Config.A: the tags min and max want a decimal number"},
		{"bad pattern", "A string `json:\"a\" pattern:\"(\"`", "Config.A: the tag pattern: error parsing regexp"},
		{"pattern without a matcher", "A string `json:\"a\" pattern:\"x\"`", "needs the method MatchPattern"},
		{"default of a required field", "A int `json:\"a\" default:\"1\"`", "a field with a default must not be required"},
		{"default of another type", "A int `json:\"a,omitempty\" default:\"x\"`", "Config.A: the tag default is not JSON"},
		{"default out of range", "A int `json:\"a,omitempty\" max:\"1\" default:\"2\"`", "Config.A: the default 2 does not fit: "},
		{"default not of the enum", "A string `json:\"a,omitempty\" enum:\"a,b\" default:\"c\"`", "Config.A: the default \"c\" does not fit: "},
		{"default in a list", "A []B `json:\"a,omitempty\" default:\"[{\\\"b\\\":3}]\"`", "Config.A: the default [{\"b\":3}] does not fit: "},
		{"list key of a string", "A string `json:\"a\" listKey:\"b\"`", "the tag listKey says nothing about a string"},
		{"list key of strings", "A []string `json:\"a\" listKey:\"b\"`", "the tag listKey says nothing about a []string"},
		{"list key that is no member", "A []B `json:\"a\" listKey:\"c\"`", "names c, and p.B has no such member"},
		{"list key that may be left out", "A []struct{ X string `json:\"x,omitempty\"` } `json:\"a\" listKey:\"x\"`", "leave omitempty"},
		{"list key that is a list", "A []struct{ X []int `json:\"x\"` } `json:\"a\" listKey:\"x\"`", "must be a string, a number or a boolean"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			root, fset := typeOf(t, "package p\ntype Config struct {\n"+tc.field+"\n}\ntype B struct {\nB int `json:\"b\" max:\"2\"`\n}\n", "Config")
			_, err := newSchemaWriter(&comments{source: &source{}, fset: fset}).root(root)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// A list that is merged by key says so in the schema, in Kubernetes' words.
func TestListKeyTag(t *testing.T) {
	t.Parallel()
	root, fset := typeOf(t, "package p\ntype Config struct {\nRules []Rule `json:\"rules,omitempty\" listKey:\"name\" maxItems:\"9\"`\n}\ntype Rule struct {\nName string `json:\"name\"`\n}\n", "Config")
	schema, err := newSchemaWriter(&comments{source: &source{}, fset: fset}).root(root)
	const want = `"rules":{"type":"array","items":{"$ref":"#/$defs/Rule"},"maxItems":9,"x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"]}`
	if err != nil || !strings.Contains(string(schema), want) {
		t.Errorf("got %s, %v; want it to hold %s", schema, err, want)
	}
}

// typeOf type-checks a source and gives one of its types.
func typeOf(t *testing.T, text, name string) (types.Type, *token.FileSet) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "p.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	config := types.Config{Importer: importer.Default()}
	pkg, err := config.Check("p", fset, []*ast.File{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pkg.Scope().Lookup(name).Type(), fset
}
