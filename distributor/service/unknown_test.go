package service

import (
	"strings"
	"testing"
)

// A secret fits wherever a string of some content would.
func TestSecretsFitSchemas(t *testing.T) {
	schema, err := compileSchema([]byte(`{"type": "object", "additionalProperties": false, "properties": {
		"text": {"type": "string"}, "pattern": {"type": "string", "pattern": "^[a-z]+$", "minLength": 3, "maxLength": 5}, "enum": {"enum": ["a", "b"]},
		"number": {"type": "integer"}, "object": {"type": "object"}, "list": {"type": "array", "uniqueItems": true, "items": {"type": "string", "format": "uri"}},
		"any": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^x"}]}, "one": {"oneOf": [{"type": "integer"}, {"type": "string", "const": "x"}]},
		"neither": {"anyOf": [{"type": "integer"}, {"type": "object"}]}, "deep": {"type": "array", "items": {"type": "object", "required": ["b"], "properties": {"a": {"type": "string", "minLength": 1}, "b": {}}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	const secret = `{"$secret":{"env":"A"}}`
	for config, path := range map[string]string{
		`{"text":` + secret + `}`:                          "",
		`{"pattern":` + secret + `}`:                       "",
		`{"enum":` + secret + `}`:                          "",
		`{"list":[` + secret + `,` + secret + `]}`:         "",
		`{"any":` + secret + `}`:                           "",
		`{"one":` + secret + `}`:                           "",
		`{"deep":[{"a":` + secret + `,"b":1}]}`:            "",
		`{"number":` + secret + `}`:                        ".number",
		`{"object":` + secret + `}`:                        ".object",
		`{"neither":` + secret + `}`:                       ".neither",
		`{"pattern":"UP"}`:                                 ".pattern",
		`{"pattern":"UP","text":` + secret + `}`:           ".pattern",
		`{"deep":[{"a":` + secret + `}]}`:                  ".deep[0]",
		`{"other":` + secret + `}`:                         "",
		`{"pattern":` + secret + `,"number":"x"}`:          ".number",
		`{"text":"` + "\\u0000secret:" + `","number":"x"}`: ".number",
	} {
		bad, err := fit(schema, []byte(config))
		refused := path != "" || strings.Contains(config, "other")
		if err != nil || (bad != nil) != refused || bad != nil && bad.path != path {
			t.Errorf("%s: %+v, %v; want %q", config, bad, err, path)
		}
		if bad != nil && strings.Contains(bad.why, unknownPrefix) {
			t.Errorf("%s: %s", config, bad.why)
		}
	}
	if _, err := fit(schema, []byte(`{"text":{"$secret":"hunter2"}}`)); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}
