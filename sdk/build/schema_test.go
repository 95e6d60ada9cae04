package build_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/build/testdata/everything/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// schemaOf builds a filter and gives the schema of its configuration, indented.
func schemaOf(t *testing.T, dir string) []byte {
	t.Helper()
	r, err := build.Build(t.Context(), dir, build.Options{OutDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Warnings) > 0 {
		t.Errorf("warnings: %v", r.Warnings)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, r.Manifest.ConfigSchema, "", "  "); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

func compileSchema(t *testing.T, data []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("config.json")
	if err != nil {
		t.Fatalf("not a JSON Schema: %v", err)
	}
	return s
}

func TestSchemaGolden(t *testing.T) {
	for _, dir := range []string{"testdata/everything", "testdata/values"} {
		t.Run(dir, func(t *testing.T) {
			got := schemaOf(t, dir)
			golden := dir + "/schema.json"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("the schema changed (-want +got); go test -update writes it anew:\n%s", diff)
			}
		})
	}
}

// The schema and sdk.DecodeConfig agree on what a configuration is: whoever validates before a rollout, and the filter that
// gets the configuration in the end.
func TestSchemaAgreesWithDecoder(t *testing.T) {
	schema := compileSchema(t, schemaOf(t, "testdata/everything"))
	minimal := map[string]any{"name": "n", "mode": "fast", "fromEmbedded": 1, "NoTag": ""}
	for _, tc := range []struct {
		name, field, value string
		ok                 bool
	}{
		{"minimal", "name", `"n"`, true},
		{"required field missing", "mode", ``, false},
		{"required field of an embedded struct missing", "fromEmbedded", ``, false},
		{"required field without a tag missing", "NoTag", ``, false},
		{"unknown field", "nmae", `1`, false},
		{"other case", "Name", `"x"`, false},
		{"ignored field", "Ignored", `"x"`, false},
		{"unexported field", "private", `"x"`, false},
		{"field under its Go name", "Unnamed", `"x"`, true},
		{"wrong type", "name", `1`, false},
		{"null", "name", `null`, false},
		{"enum", "mode", `"slow"`, true},
		{"not of the enum", "mode", `"medium"`, false},
		{"empty, required enum", "mode", `""`, false},
		{"empty, optional enum", "level", `""`, true},
		{"not of the optional enum", "level", `"x"`, false},
		{"enum by pointer", "maybeOf", `"a"`, true},
		{"not of the enum by pointer", "maybeOf", `"c"`, false},
		{"null enum by pointer", "maybeOf", `null`, true},
		{"bool", "bool", `true`, true},
		{"bool as a string", "bool", `"true"`, false},
		{"int", "int", `-9223372036854775808`, true},
		{"int over 64 bits", "int", `9223372036854775808`, false},
		{"fraction", "int", `1.5`, false},
		{"int8", "int8", `127`, true},
		{"int8 over", "int8", `128`, false},
		{"int8 under", "int8", `-129`, false},
		{"uint16 negative", "uint16", `-1`, false},
		{"uint16 over", "uint16", `65536`, false},
		{"uint64", "uint64", `18446744073709551615`, true},
		{"uint64 over", "uint64", `18446744073709551616`, false},
		{"float", "float", `1e-3`, true},
		{"float as a string", "float", `"1"`, false},
		{"pointer", "pointer", `7`, true},
		{"pointer null", "pointer", `null`, true},
		{"pointer of another type", "pointer", `"x"`, false},
		{"strings", "strings", `["a",""]`, true},
		{"strings null", "strings", `null`, false},
		{"string in a list null", "strings", `[null]`, false},
		{"bytes", "bytes", `"aGk="`, true},
		{"bytes as a list", "bytes", `[1]`, false},
		{"pair", "pair", `[1,2]`, true},
		{"pair of one", "pair", `[1]`, false},
		{"pair of three", "pair", `[1,2,3]`, false},
		{"map", "map", `{"a":1}`, true},
		{"map of strings", "map", `{"a":"1"}`, false},
		{"map by kind", "byKind", `{"x":[{"path":"/"}]}`, true},
		{"map by kind, unknown field", "byKind", `{"x":[{"path":"/","z":1}]}`, false},
		{"any object", "any", `{"x":[1]}`, true},
		{"any null", "any", `null`, true},
		{"raw null", "raw", `null`, true},
		{"duration", "duration", `1000000000`, true},
		{"duration as text", "duration", `"1s"`, false},
		{"time", "time", `"2026-01-02T03:04:05Z"`, true},
		{"time as a number", "time", `5`, false},
		{"address", "address", `"10.0.0.1"`, true},
		{"address as a number", "address", `10`, false},
		{"own decoder", "own", `3`, true},
		{"rules", "rules", `[{"path":"/a","kind":"k"}]`, true},
		{"rule without its required field", "rules", `[{"kind":"k"}]`, false},
		{"limit", "limit", `{"requests":255}`, true},
		{"limit over", "limit", `{"requests":256}`, false},
		{"the other type of that name", "other", `{"bytes":256}`, true},
		{"the types of that name mixed up", "other", `{"requests":1}`, false},
		{"tree", "tree", `{"children":[{"value":1,"children":[null]}]}`, true},
		{"tree with a bad leaf", "tree", `{"children":[{"value":"1"}]}`, false},
		{"the whole once more", "again", `{"name":"m","mode":"slow","fromEmbedded":2,"NoTag":"x"}`, true},
		{"the whole once more, incomplete", "again", `{"name":"m"}`, false},
		{"struct without a name", "inner", `{"x":1}`, true},
		{"struct without a name, empty", "inner", `{}`, false},
		{"generic", "generic", `{"value":"x"}`, true},
		{"generic of another type", "generic", `{"value":1}`, false},
		{"embedded pointer's field", "fromOptional", `"x"`, true},
		{"embedded pointer's field, wrong", "fromOptional", `1`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc := map[string]any{}
			for k, v := range minimal {
				doc[k] = v
			}
			if tc.value == "" {
				delete(doc, tc.field)
			} else {
				doc[tc.field] = json.RawMessage(tc.value)
			}
			data, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			agree(t, schema, data, new(config.Config), tc.ok)
		})
	}
}

// agree checks that the schema and the decoder both take a configuration, or both refuse it.
func agree(t *testing.T, schema *jsonschema.Schema, data []byte, into any, ok bool) {
	t.Helper()
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	schemaErr := schema.Validate(instance)
	decodeErr := sdk.DecodeConfig(data, into)
	if (schemaErr == nil) != ok || (decodeErr == nil) != ok {
		t.Errorf("want ok %v for %s\nschema: %v\ndecoder: %v", ok, data, schemaErr, decodeErr)
	}
}

func TestSchemaOfRegistrationElsewhere(t *testing.T) {
	got := string(schemaOf(t, "testdata/helper"))
	if !strings.Contains(got, `"description": "Depth is how deep."`) || !strings.Contains(got, `"required": [`) {
		t.Errorf("schema %s", got)
	}
}

func TestNoSchema(t *testing.T) {
	for _, tc := range []struct{ dir, says string }{
		{"testdata/raw", "does not import"},
		{"testdata/bare", "does not import"},
		{"testdata/rawconfig", "RegisterRaw"},
	} {
		t.Run(tc.dir, func(t *testing.T) {
			r, err := build.Build(t.Context(), tc.dir, build.Options{OutDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			if r.Manifest.ConfigSchema != nil || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0].Message, tc.says) {
				t.Errorf("schema %s, warnings %v", r.Manifest.ConfigSchema, r.Warnings)
			}
		})
	}
}
