package main

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// split is an experiment with the variants a and b.
func split(a, b float64, more string) string {
	return fmt.Sprintf(`{"experiments":[{"name":"e","header":"x-variant","variants":[{"name":"a","percent":%v},{"name":"b","percent":%v,"host":"b.test","pathPrefix":"/b"}]%s}]}`, a, b, more)
}

func TestChoice(t *testing.T) {
	t.Parallel()
	const force = `,"force":[{"match":{"headers":[{"name":"x-tester"}]},"variant":"b"}]`
	const cookie = `,"cookie":{"name":"ab"}`
	for _, tc := range []struct {
		name, config string
		headers      []sdk.Header
		want, cookie string
	}{
		{"all to one", split(0, 100, ""), nil, "b", ""},
		{"all to the other", split(100, 0, ""), nil, "a", ""},
		{"the client's own word", split(100, 0, ""), sdktest.Headers("x-variant", "b", "x-variant", "c"), "a", ""},
		{"forced", split(100, 0, force), sdktest.Headers("x-tester", "1"), "b", ""},
		{"not forced", split(100, 0, force), nil, "a", ""},
		{"forced against a cookie", split(100, 0, force+cookie), sdktest.Headers("x-tester", "1", "cookie", "ab=a"), "b", ""},
		{"remembered", split(100, 0, cookie), sdktest.Headers("cookie", "x=1; ab=b"), "b", ""},
		{"remembered in quotes", split(100, 0, cookie), sdktest.Headers("cookie", `ab="b"`), "b", ""},
		{"remembered in a second header", split(100, 0, cookie), sdktest.Headers("cookie", "x=1", "cookie", "ab=b"), "b", ""},
		{"another cookie", split(100, 0, cookie), sdktest.Headers("cookie", "xab=b; abx=b"), "a", "ab=a; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"},
		{"a variant that is gone", split(100, 0, cookie), sdktest.Headers("cookie", "ab=c"), "a", "ab=a; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"},
		{"nothing remembered", split(0, 100, cookie), nil, "b", "ab=b; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"},
		{"no key", split(0, 100, `,"key":{"header":"x-user"}`), nil, "a", ""},
		{"an empty key", split(0, 100, `,"key":{"header":"x-user"}`), sdktest.Headers("x-user", ""), "a", ""},
		{"a key", split(0, 100, `,"key":{"header":"x-user"}`), sdktest.Headers("x-user", "ann"), "b", ""},
		{"a key in a cookie", split(0, 100, `,"key":{"cookie":"session"}`), sdktest.Headers("cookie", "session=1"), "b", ""},
		{"an address", split(0, 100, `,"key":{"address":true}`), nil, "b", ""},
		{"it takes no part", split(0, 100, `,"match":{"methods":["POST"]}`), sdktest.Headers("x-variant", "b"), "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := sdktest.New(t, configure, tc.config)
			got := f.Do(sdktest.Request{Path: "/x?y", Headers: tc.headers, Properties: map[string]any{"source.address": "10.0.0.1:1"}})
			if variant := got.Upstream.Get("x-variant"); variant != tc.want {
				t.Errorf("the variant is %q, want %q", variant, tc.want)
			}
			host, path := "waft.test", "/x?y"
			if tc.want == "b" {
				host, path = "b.test", "/b/x?y"
			}
			if got.Upstream.Get(":authority") != host || got.Upstream.Get(":path") != path {
				t.Errorf("it goes to %s %s", got.Upstream.Get(":authority"), got.Upstream.Get(":path"))
			}
			if set := got.Response.Get("set-cookie"); set != tc.cookie {
				t.Errorf("cookie %q, want %q", set, tc.cookie)
			}
			if tc.want != "" && f.Metric("abtest.requests.experiment.e.variant."+tc.want) != 1 {
				t.Errorf("metrics %v", f.Metrics())
			}
		})
	}
}

// Shares are what they say they are, by hash and by chance, and the same key always gets the same.
func TestShares(t *testing.T) {
	t.Parallel()
	const n = 20_000
	for _, tc := range []struct{ name, more string }{{"by hash", `,"key":{"header":"x-user"}`}, {"by chance", ""}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := sdktest.New(t, configure, split(90, 10, tc.more))
			b := 0
			for i := range n {
				if f.Do(sdktest.Request{Headers: sdktest.Headers("x-user", fmt.Sprint("user-", i))}).Upstream.Get("x-variant") == "b" {
					b++
				}
			}
			// Six standard deviations: once in half a billion runs.
			if off := math.Abs(float64(b) - n*0.1); off > 6*math.Sqrt(n*0.1*0.9) {
				t.Errorf("%d of %d are b", b, n)
			}
		})
	}
}

// Who has the last variant keeps it when its share grows.
func TestGrowingShare(t *testing.T) {
	t.Parallel()
	const key = `,"key":{"header":"x-user"}`
	small, large := sdktest.New(t, configure, split(90, 10, key)), sdktest.New(t, configure, split(70, 30, key))
	for i := range 2000 {
		request := sdktest.Request{Headers: sdktest.Headers("x-user", fmt.Sprint(i))}
		if small.Do(request).Upstream.Get("x-variant") == "b" && large.Do(request).Upstream.Get("x-variant") != "b" {
			t.Fatalf("user %d loses b", i)
		}
	}
}

// The hash is documented, so it stays.
func TestBucketOf(t *testing.T) {
	t.Parallel()
	// printf 'checkout\0ann' | sha256sum begins with these 16 digits.
	const first = 0x151cedfd8eebfe00
	if got := bucketOf("checkout", "ann"); got != first%buckets {
		t.Errorf("bucket %d, want %d", got, uint64(first)%buckets)
	}
}

func TestSeveralExperiments(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"experiments":[
		{"name":"one","header":"x-one","responseHeader":"x-got-one","variants":[{"name":"a","percent":100,"pathPrefix":"/moved"}],"cookie":{"name":"c1","path":"/shop","maxAgeSeconds":60}},
		{"name":"two","header":"x-two","match":{"path":{"prefix":"/shop"}},"variants":[{"name":"b","percent":99.999},{"name":"c","percent":0.001}],"force":[{"match":{},"variant":"c"}],"cookie":{"name":"c2"}}]}`)
	got := f.Do(sdktest.Request{Path: "/shop", Scheme: "https", Upstream: sdktest.Response{Headers: sdktest.Headers("set-cookie", "s=1")}})
	if got.Upstream.Get("x-one") != "a" || got.Upstream.Get("x-two") != "c" || got.Response.Get("x-got-one") != "a" {
		t.Errorf("upstream %v, response %v", got.Upstream.Headers, got.Response.Headers)
	}
	if set := got.Response.Get("set-cookie"); set != "s=1, c1=a; Path=/shop; Max-Age=60; HttpOnly; SameSite=Lax; Secure" {
		t.Errorf("cookies %q", set)
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, config, want string }{
		{"nothing", `{}`, "experiments: required field is missing"},
		{"too little", split(50, 49.5, ""), "experiments[0].variants: their percent make 99.5, want 100"},
		{"too much", split(100, 100, ""), "their percent make 200"},
		{"too fine", split(99.9999, 0.0001, ""), "experiments[0].variants[0].percent: 99.9999: want steps of 0.001"},
		{"negative", split(-1, 101, ""), "experiments[0].variants[0].percent: want at least 0, got -1"},
		{"unknown variant", split(50, 50, `,"force":[{"match":{},"variant":"z"}]`), `experiments[0].force[0].variant: there is no variant "z"`},
		{"two keys", split(50, 50, `,"key":{"header":"x","address":true}`), "experiments[0].key: want one of"},
		{"cookie", split(50, 50, `,"cookie":{"name":"a b"}`), `experiments[0].cookie.name: "a b" is no name of a cookie`},
		{"cookie's path", split(50, 50, `,"cookie":{"name":"a","path":"/;x"}`), "experiments[0].cookie.path: "},
		{"a name for metrics", strings.Replace(split(50, 50, ""), `"name":"e"`, `"name":"e.f"`, 1), "experiments[0].name: "},
		{"a variant twice", strings.Replace(split(50, 50, ""), `"name":"b"`, `"name":"a"`, 1), `experiments[0].variants[1].name: there is another variant "a"`},
		{"path", strings.Replace(split(50, 50, ""), `"/b"`, `"/b/"`, 1), "experiments[0].variants[1].pathPrefix: "},
		{"host", strings.Replace(split(50, 50, ""), `"b.test"`, `"http://b.test"`, 1), "experiments[0].variants[1].host: "},
		{"no header", strings.Replace(split(50, 50, ""), `"header":"x-variant",`, ``, 1), "experiments[0].header: required field is missing"},
		{"the same header", strings.Replace(split(50, 50, ""), `]}]}`, `]},{"name":"f","header":"X-Variant","variants":[{"name":"a","percent":100}]}]}`, 1), "experiments[1]: another experiment has this name or this header"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := sdktest.Configure(t, configure, tc.config)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// FuzzCookie wants a cookie that is found to stand in the header.
func FuzzCookie(f *testing.F) {
	for _, s := range []string{"ab=b", "x=1; ab=b", `ab="b"`, "ab", ";;=", "ab==;ab=b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n\x00") {
			return
		}
		filter := sdktest.New(t, configure, split(100, 0, `,"cookie":{"name":"ab"}`))
		got := filter.Do(sdktest.Request{Headers: sdktest.Headers("cookie", line)})
		if got.Upstream.Get("x-variant") == "b" && !strings.Contains(line, "ab=") {
			t.Errorf("%q gives b", line)
		}
	})
}
