package configtag

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		tag  reflect.StructTag
		want func(*Tags)
		set  []string
	}{
		{"none", ``, func(*Tags) {}, nil},
		{"json only", `json:"a,omitempty"`, func(*Tags) {}, nil},
		{"enum", `enum:"a,b"`, func(w *Tags) { w.Enum = []string{"a", "b"} }, []string{"enum"}},
		{"range", `min:"-1.5" max:"1e3"`, func(w *Tags) { w.Min, w.Max = "-1.5", "1e3" }, []string{"min", "max"}},
		{"length", `minLength:"0" maxLength:"7"`, func(w *Tags) { w.MinLength, w.MaxLength = 0, 7 }, []string{"minLength", "maxLength"}},
		{"items", `minItems:"1" maxItems:"1"`, func(w *Tags) { w.MinItems, w.MaxItems = 1, 1 }, []string{"minItems", "maxItems"}},
		{"pattern", `pattern:"^a\\.b$"`, func(w *Tags) { w.Pattern = `^a\.b$` }, []string{"pattern"}},
		{"default", `default:"x"`, func(w *Tags) { w.Default, w.HasDefault = "x", true }, nil},
		{"empty default", `default:""`, func(w *Tags) { w.HasDefault = true }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			want := None()
			tc.want(&want)
			got, err := Parse(tc.tag)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v; want %+v", got, err, want)
			}
			if set := got.Set(); !slices.Equal(set, tc.set) {
				t.Errorf("set are %v, want %v", set, tc.set)
			}
		})
	}
}

func TestParseFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		tag  reflect.StructTag
		want string
	}{
		{"a word for a number", `min:"low"`, `the tags min and max want a decimal number, got "low"`},
		{"infinity", `max:"Inf"`, "want a decimal number"},
		{"hexadecimal", `max:"0x10"`, "want a decimal number"},
		{"leading zero", `max:"010"`, "want a decimal number"},
		{"min above max", `min:"2" max:"1"`, "min is above max"},
		{"negative length", `minLength:"-1"`, "minLength wants a whole number from 0"},
		{"a fraction of an item", `maxItems:"1.5"`, "maxItems wants a whole number from 0"},
		{"lengths reversed", `minLength:"2" maxLength:"1"`, "minLength is above maxLength"},
		{"items reversed", `minItems:"2" maxItems:"1"`, "minItems is above maxItems"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if _, err := Parse(tc.tag); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestElement(t *testing.T) {
	t.Parallel()
	tags, err := Parse(`minItems:"1" maxItems:"2" default:"[]" enum:"a" min:"1" pattern:"x" minLength:"1"`)
	if err != nil {
		t.Fatal(err)
	}
	element := tags.Element()
	if element.HasDefault || !slices.Equal(element.Set(), []string{"enum", "min", "minLength", "pattern"}) {
		t.Errorf("the element has %v, default %v", element.Set(), element.HasDefault)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"1", "2", -1},
		{"2", "1", 1},
		{"1", "1", 0},
		{"9223372036854775806", "9223372036854775807", -1},
		{"18446744073709551614", "18446744073709551615", -1},
		{"-1", "18446744073709551615", -1},
		{"1.5", "1", 1},
		{"0.5", "5e-1", 0},
	} {
		if got := Compare(tc.a, tc.b); got != tc.want {
			t.Errorf("Compare(%s, %s) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}

// FuzzIsNumber wants what is taken as a number to be one in JSON, since it goes into a schema.
func FuzzIsNumber(f *testing.F) {
	for _, s := range []string{"0", "-1", "1.5", "1e9", "1E+9", "01", "+1", ".5", "5.", "-", "1_0", "NaN", "0x1p2", "1.e5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if isNumber(s) && !json.Valid([]byte(s)) {
			t.Errorf("%q is taken as a number, which JSON does not", s)
		}
	})
}
