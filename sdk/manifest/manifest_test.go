package manifest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/manifest"
)

func valid() manifest.Manifest {
	return manifest.Manifest{
		Name: "authz", Version: "1.2.0", SHA256: strings.Repeat("0f", 32), Size: 2_600_000, ABI: manifest.ABI021, Language: "go",
		Imports: []string{"env.proxy_log", "wasi_snapshot_preview1.fd_readdir"}, Envoys: []string{"envoy-1.40"},
		Missing:   map[string][]string{"envoy-1.36": {"wasi_snapshot_preview1.fd_readdir"}},
		MemoryMax: 64 << 20, ConfigSchema: json.RawMessage(`{"type":"object","description":"a < b"}`),
	}
}

func TestRoundTrip(t *testing.T) {
	data, err := valid().Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := manifest.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, valid()) {
		t.Errorf("decoded %+v, want %+v", got, valid())
	}
	again, err := got.Encode()
	if err != nil || !bytes.Equal(again, data) {
		t.Errorf("encoding is not stable: %v\n%s\n%s", err, data, again)
	}
	if !bytes.Contains(data, []byte("a < b")) {
		t.Errorf("descriptions must stay readable, have %s", data)
	}
}

func TestDecodeRefuses(t *testing.T) {
	data, err := valid().Encode()
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	replace := func(old, new string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("the manifest has no %s", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, tc := range []struct{ name, in, field string }{
		{"empty", "", ""},
		{"null", "null", ""},
		{"array", "[]", ""},
		{"two values", good + "{}", ""},
		{"over the limit", good + strings.Repeat(" ", manifest.MaxBytes), ""},
		{"too deep", `{"configSchema":` + strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 101), ""},
		{"unknown field", replace(`"name"`, `"x": 1, "name"`), `"x"`},
		{"field in another case", replace(`"name"`, `"Name"`), `"Name"`},
		{"field twice", replace(`"name"`, `"name": "b", "name"`), "name"},
		{"schema key twice", replace(`"type": "object"`, `"type": "object", "type": "string"`), "configSchema.type"},
		{"field missing", replace(`"memoryMax": 67108864,`, ``), "memoryMax"},
		{"wrong type", replace(`"size": 2600000`, `"size": "2600000"`), "size"},
		{"fraction", replace(`"size": 2600000`, `"size": 2.5`), "size"},
		{"huge size", replace(`"size": 2600000`, `"size": 300000000`), "size"},
		{"negative size", replace(`"size": 2600000`, `"size": -1`), "size"},
		{"name with a slash", replace(`"authz"`, `"../authz"`), "name"},
		{"empty version", replace(`"1.2.0"`, `""`), "version"},
		{"digest with prefix", replace(`"0f0f`, `"sha256:0f0f`), "sha256"},
		{"digest in capitals", replace(`"0f0f`, `"0F0F`), "sha256"},
		{"ABI", replace(`"0.2.1"`, `"0.3.0"`), "abi"},
		{"import without module", replace(`"env.proxy_log"`, `"proxy_log"`), "imports[0]"},
		{"imports out of order", replace(`"env.proxy_log"`, `"x.proxy_log"`), "imports[1]"},
		{"loadable and not", replace(`"envoy-1.36"`, `"envoy-1.40"`), "missing.envoy-1.40"},
		{"profile twice", replace(`"envoy-1.40"`, `"envoy-1.40", "envoy-1.40"`), "envoys[1]"},
		{"memory", replace(`67108864`, `5000000000`), "memoryMax"},
		{"schema null", replace("{\n    \"type\": \"object\",\n    \"description\": \"a < b\"\n  }", "null"), "configSchema"},
		{"schema string", replace("{\n    \"type\": \"object\",\n    \"description\": \"a < b\"\n  }", `"x"`), "configSchema"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := manifest.Decode([]byte(tc.in))
			var e *manifest.Error
			if !errors.As(err, &e) || !errors.Is(err, manifest.ErrInvalid) {
				t.Fatalf("want an Error, have %v", err)
			}
			if e.Field != tc.field {
				t.Errorf("blames the field %q, want %q: %v", e.Field, tc.field, err)
			}
		})
	}
}

// The lists that make Decode strict must not fall behind the struct.
func TestFieldsMatchStruct(t *testing.T) {
	typ := reflect.TypeFor[manifest.Manifest]()
	for i := range typ.NumField() {
		name, opts, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		var doc map[string]any
		data, err := valid().Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		delete(doc, name)
		without, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		_, err = manifest.Decode(without)
		if optional := opts == "omitempty"; (err == nil) != optional {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	data, err := valid().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"name":"a","name":"b"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := manifest.Decode(in)
		if err != nil {
			if !errors.Is(err, manifest.ErrInvalid) {
				t.Fatalf("not an ErrInvalid: %v", err)
			}
			return
		}
		out, err := m.Encode()
		if err != nil {
			t.Fatalf("a decoded manifest does not encode: %v", err)
		}
		m2, err := manifest.Decode(out)
		if err != nil {
			t.Fatalf("an encoded manifest does not decode: %v", err)
		}
		if again, err := m2.Encode(); err != nil || !bytes.Equal(out, again) {
			t.Fatalf("encoding is not stable: %v\n%s\n%s", err, out, again)
		}
	})
}
