package model

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func TestCanonicalVectors(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"RFC 8785 section 3.2.2, primitives",
			`{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
			  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}`,
			`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`},
		{"RFC 8785 section 3.2.3, order of members",
			`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`,
			"{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}"},
		{"the RFC's test data: arrays", `[56, {"d": true, "10": null, "1": [ ]}]`, `[56,{"1":[],"10":null,"d":true}]`},
		{"the RFC's test data: french",
			`{"peach": "This sorting order", "péché": "is wrong according to French", "pêche": "but canonicalization MUST", "sin": "ignore locale"}`,
			`{"peach":"This sorting order","péché":"is wrong according to French","pêche":"but canonicalization MUST","sin":"ignore locale"}`},
		{"the RFC's test data: structures",
			`{"1": {"f": {"f": "hi","F": 5} ,"\n": 56.0}, "10": { }, "": "empty", "a": { }, "111": [ {"e": "yes","E": "no" } ], "A": { } }`,
			`{"":"empty","1":{"\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{"E":"no","e":"yes"}],"A":{},"a":{}}`},
		{"the RFC's test data: unicode is not normalised", `{"Unnormalized Unicode":"A\u030a"}`, "{\"Unnormalized Unicode\":\"A\u030a\"}"},
		{"a prefix sorts first", `{"ab":1,"a":2}`, `{"a":2,"ab":1}`},
		{"HTML and line separators stay", `"<a&b>\u2028"`, "\"<a&b>\u2028\""},
		{"the largest exact integers", `[9007199254740992,-9007199254740992]`, `[9007199254740992,-9007199254740992]`},
		{"a float that happens to be whole", `1e20`, `100000000000000000000`},
		{"minus zero", `-0`, `0`},
		{"white space around", " \t\r\n[ 1 , 2 ]\n", `[1,2]`},
		{"between escapes", `"ab\ncd\u0001\u0002ef\"é\\gh"`, `"ab\ncd\u0001\u0002ef\"é\\gh"`},
		{"all short escapes", `"\b\f\n\r\t\"\\\/\u001f"`, `"\b\f\n\r\t\"\\/\u001f"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Canonical([]byte(test.in))
			if err != nil || string(got) != test.want {
				t.Fatalf("got  %s, %v\nwant %s", got, err, test.want)
			}
		})
	}
}

// A long text is in memory a few times while its canonical form is made, however its memory grows.
func TestCanonicalOfALongText(t *testing.T) {
	const size = 1 << 20
	in := []byte(`{"filling":"` + strings.Repeat("x", size) + `"}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Canonical(in); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if copies := float64(after.TotalAlloc-before.TotalAlloc) / size; copies > 4 {
		t.Errorf("it took the memory of %.1f texts; of 4 at the most", copies)
	}
}

// TestNumbers holds the samples of RFC 8785 appendix B.
func TestNumbers(t *testing.T) {
	for bits, want := range map[uint64]string{
		0x0000000000000000: "0",
		0x8000000000000000: "0",
		0x0000000000000001: "5e-324",
		0x8000000000000001: "-5e-324",
		0x7fefffffffffffff: "1.7976931348623157e+308",
		0xffefffffffffffff: "-1.7976931348623157e+308",
		0x4340000000000000: "9007199254740992",
		0xc340000000000000: "-9007199254740992",
		0x4430000000000000: "295147905179352830000",
		0x44b52d02c7e14af5: "9.999999999999997e+22",
		0x44b52d02c7e14af6: "1e+23",
		0x44b52d02c7e14af7: "1.0000000000000001e+23",
		0x444b1ae4d6e2ef4e: "999999999999999700000",
		0x444b1ae4d6e2ef4f: "999999999999999900000",
		0x444b1ae4d6e2ef50: "1e+21",
		0x3eb0c6f7a0b5ed8c: "9.999999999999997e-7",
		0x3eb0c6f7a0b5ed8d: "0.000001",
		0x41b3de4355555553: "333333333.3333332",
		0x41b3de4355555554: "333333333.33333325",
		0x41b3de4355555555: "333333333.3333333",
		0x41b3de4355555556: "333333333.3333334",
		0x41b3de4355555557: "333333333.33333343",
		0xbecbf647612f3696: "-0.0000033333333333333333",
		0x43143ff3c1cb0959: "1424953923781206.2",
	} {
		if got := string(appendNumber(nil, math.Float64frombits(bits))); got != want {
			t.Errorf("%016x: got %s, want %s", bits, got, want)
		}
	}
}

func TestCanonicalRefuses(t *testing.T) {
	for _, test := range []struct{ name, in, path, message string }{
		{"nothing", ``, "", "not JSON"},
		{"two values", `1 2`, "", "not JSON: at byte 3"},
		{"a comma too many", `[1,]`, "", "not JSON"},
		{"duplicate members", `{"rules":[{"path":"/a","path":"/b"}]}`, "rules[0].path", "given twice"},
		{"duplicates by escape", `{"a":1,"\u0061":2}`, "a", "given twice"},
		{"an integer beyond 2^53", `{"limits":{"max":9007199254740993}}`, "limits.max", "beyond 2^53"},
		{"a negative one", `[-9007199254740993]`, "[0]", "beyond 2^53"},
		{"an integer of a thousand digits", `[` + strings.Repeat("9", 1000) + `]`, "[0]", "64-bit float"},
		{"a float that is too large", `{"a b":1e400}`, `["a b"]`, "64-bit float"},
		{"half a surrogate pair", `["\ud800"]`, "[0]", `\ud800`},
		{"the other half", `["\udc00x"]`, "[0]", `\udc00`},
		{"two first halves", `["\ud800\ud800"]`, "[0]", `\ud800`},
		{"not UTF-8", "\"\xff\"", "", "UTF-8"},
		{"too deep", strings.Repeat("[", MaxJSONDepth+1) + strings.Repeat("]", MaxJSONDepth+1), strings.Repeat("[0]", MaxJSONDepth), "deeper than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := Canonical([]byte(test.in))
			at, ok := errors.AsType[*JSONError](err)
			if !ok || at.Path != test.path || !strings.Contains(at.Message, test.message) {
				t.Fatalf("got %s, %v; want an error at %q with %q", out, err, test.path, test.message)
			}
		})
	}
	deepest := strings.Repeat("[", MaxJSONDepth) + strings.Repeat("]", MaxJSONDepth)
	if _, err := Canonical([]byte(deepest)); err != nil {
		t.Errorf("nested as deep as allowed: %v", err)
	}
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{`{"b":[1,2.5e3,-0,"\u00e9\ud83d\ude00"],"a":{"":null}}`, `[true,false]`, `"\ud800"`, `{"a":1,"a":2}`, `1e-7`, "\"\x7f\"", `9007199254740993`, `1e17`, `123456789012345680000`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := Canonical(in)
		if err != nil {
			return
		}
		again, err := Canonical(out)
		if err != nil || string(again) != string(out) {
			t.Fatalf("%q gives %q, which gives %q, %v", in, out, again, err)
		}
		var a, b any
		if json.Unmarshal(in, &a) != nil || json.Unmarshal(out, &b) != nil {
			t.Fatalf("%q was taken, or gives %q, which is not JSON", in, out)
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("%q and %q mean different things", in, out)
		}
	})
}

func FuzzNumber(f *testing.F) {
	f.Add(uint64(0x3eb0c6f7a0b5ed8c))
	f.Fuzz(func(t *testing.T, bits uint64) {
		want := math.Float64frombits(bits)
		if math.IsNaN(want) || math.IsInf(want, 0) {
			return
		}
		text := string(appendNumber(nil, want))
		if got, err := strconv.ParseFloat(text, 64); err != nil || got != want {
			t.Fatalf("%v prints as %s, which reads as %v, %v", want, text, got, err)
		}
	})
}
