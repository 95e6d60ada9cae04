package compare_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/waft-project/waft/sdk/compare"
)

// A change that is not called breaking refuses nothing that was accepted: random schemas, and random values against both.
func TestNoBreakIsMissed(t *testing.T) {
	const schemas, values = 4000, 40
	r := rand.New(rand.NewPCG(1, 2))
	accepted, clean := 0, 0
	for range schemas {
		was := randomSchema(r, 3)
		is := mutated(r, was)
		a, b := marshal(t, was), marshal(t, is)
		safe := true
		for _, c := range compare.Schemas(a, b) {
			safe = safe && c.Effect != compare.Breaks && c.Effect != compare.MayBreak
		}
		if !safe {
			continue
		}
		clean++
		before, after := compile(t, a), compile(t, b)
		for range values {
			v := randomValue(r, 3)
			if before.Validate(v) != nil {
				continue
			}
			accepted++
			if err := after.Validate(v); err != nil {
				t.Fatalf("was %s\nis  %s\n%s was accepted, and is not: %v\nthe changes: %+v", a, b, marshal(t, v), err, compare.Schemas(a, b))
			}
		}
	}
	if clean < schemas/10 || accepted < schemas {
		t.Errorf("of %d pairs %d were said not to break, and %d values were accepted: too few to say anything", schemas, clean, accepted)
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func compile(t *testing.T, schema []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("s.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := compiler.Compile("s.json")
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	return s
}

var fields = []string{"a", "b", "c"}

func randomSchema(r *rand.Rand, depth int) any {
	if r.IntN(12) == 0 {
		return true
	}
	if r.IntN(8) == 0 {
		return map[string]any{"anyOf": []any{randomSchema(r, depth-1), map[string]any{"type": "null"}}}
	}
	s := map[string]any{}
	kinds := []string{"string", "integer", "number", "boolean"}
	if depth > 0 {
		kinds = append(kinds, "object", "object", "array")
	}
	kind := kinds[r.IntN(len(kinds))]
	if r.IntN(10) > 0 {
		s["type"] = kind
	}
	switch kind {
	case "string":
		if r.IntN(2) == 0 {
			s["enum"] = []any{"x", "yy", "zzz"}[:1+r.IntN(3)]
		}
		s["maxLength"] = 1 + r.IntN(4)
	case "integer", "number":
		s["minimum"] = r.IntN(3) - 1
		s["maximum"] = 1 + r.IntN(4)
	case "array":
		s["items"] = randomSchema(r, depth-1)
		s["minItems"] = r.IntN(2)
	case "object":
		properties := map[string]any{}
		required := []any{}
		for _, name := range fields {
			if r.IntN(2) == 0 {
				properties[name] = randomSchema(r, depth-1)
			}
			if r.IntN(4) == 0 {
				required = append(required, name)
			}
		}
		s["properties"], s["required"] = properties, required
		switch r.IntN(4) {
		case 0:
			s["additionalProperties"] = randomSchema(r, depth-1)
		case 1:
			delete(s, "additionalProperties")
		default:
			s["additionalProperties"] = false
		}
	}
	return s
}

// mutated is a schema with some part of it made anew, so that many pairs differ in little.
func mutated(r *rand.Rand, v any) any {
	if r.IntN(6) == 0 {
		return randomSchema(r, 2)
	}
	s, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for word, value := range s {
		switch {
		case r.IntN(12) == 0: // left out
		case word == "properties":
			properties := map[string]any{}
			for name, p := range value.(map[string]any) {
				if r.IntN(10) > 0 {
					properties[name] = mutated(r, p)
				}
			}
			if r.IntN(4) == 0 {
				properties[fields[r.IntN(len(fields))]] = randomSchema(r, 1)
			}
			out[word] = properties
		case word == "items" || word == "additionalProperties":
			out[word] = mutated(r, value)
		case word == "minimum" || word == "maximum" || word == "maxLength" || word == "minItems":
			out[word] = max(0, value.(int)+r.IntN(3)-1)
		case word == "anyOf":
			out[word] = []any{mutated(r, value.([]any)[0]), map[string]any{"type": "null"}}
		default:
			out[word] = value
		}
	}
	return out
}

func randomValue(r *rand.Rand, depth int) any {
	switch n := r.IntN(10); {
	case n < 4 && depth > 0:
		v := map[string]any{}
		for _, name := range append(fields, "d") {
			if r.IntN(2) == 0 {
				v[name] = randomValue(r, depth-1)
			}
		}
		return v
	case n == 4 && depth > 0:
		v := []any{}
		for range r.IntN(3) {
			v = append(v, randomValue(r, depth-1))
		}
		return v
	case n == 5:
		return nil
	case n == 6:
		return r.IntN(2) == 0
	case n == 7:
		return float64(r.IntN(8)) / 2
	case n == 8:
		return json.Number([]string{"0", "1", "2", "3"}[r.IntN(4)])
	default:
		return []string{"x", "yy", "zzz", "wwww"}[r.IntN(4)]
	}
}
