package main

import (
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// form are the headers of a form.
var form = sdktest.Headers("user-agent", "Mozilla/5.0", "accept", "*/*", "content-type", "application/x-www-form-urlencoded", "content-length", "9")

// browser are the headers of a request without a body.
var browser = sdktest.Headers("user-agent", "Mozilla/5.0", "accept", "*/*")

func with(headers []sdk.Header, more ...string) []sdk.Header {
	return append(append([]sdk.Header(nil), headers...), sdktest.Headers(more...)...)
}

// Properties that every request has.
var properties = map[string]any{
	"request.protocol": "HTTP/1.1", "source.address": "192.0.2.1:4711", "source.port": int64(4711),
	"destination.address": "192.0.2.2:80", "destination.port": int64(80),
}

func TestRequests(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, "")
	for _, tc := range []struct {
		name    string
		request sdktest.Request
		// kind is what the counter of attacks tells; empty for a request that passes.
		kind string
	}{
		{"a page", sdktest.Request{Path: "/products?page=2&sort=price&q=blue+shoes", Headers: browser}, ""},
		{"a name with an apostrophe", sdktest.Request{Path: "/search?q=O%27Brien", Headers: browser}, ""},
		{"a sentence with SQL's words", sdktest.Request{Path: "/search?q=select+the+best+from+our+union", Headers: browser}, ""},
		{"a sum", sdktest.Request{Path: "/search?q=1%2B1%3D2", Headers: browser}, ""},
		{"a form", sdktest.Request{Method: "POST", Path: "/", Headers: form, Body: "name=Ann&comment=Tom+%26+Jerry+%3C3"}, ""},
		{"JSON", sdktest.Request{Method: "POST", Path: "/", Headers: with(browser, "content-type", "application/json", "content-length", "9"), Body: `{"title":"a < b and c > d"}`}, ""},
		{"SQL in the query", sdktest.Request{Path: "/?id=1%27%20OR%20%271%27=%271", Headers: browser}, "sqli"},
		{"SQL in the query of a request with a body", sdktest.Request{Method: "POST", Path: "/?id=1%27%20OR%20%271%27=%271", Headers: form, Body: "a=b"}, "sqli"},
		{"SQL in a form", sdktest.Request{Method: "POST", Path: "/", Headers: form, Body: "id=1' UNION SELECT password FROM users--"}, "sqli"},
		{"SQL in JSON", sdktest.Request{Method: "POST", Path: "/", Headers: with(browser, "content-type", "application/json", "content-length", "9"), Body: `{"a":[{"id":"1' OR '1'='1"}]}`}, "sqli"},
		{"SQL in pieces", sdktest.Request{Method: "POST", Path: "/", Headers: form, Chunks: []string{"id=1' UNI", "ON SELECT password FROM users--"}}, "sqli"},
		{"SQL before trailers", sdktest.Request{Method: "POST", Path: "/", Headers: form, Body: "id=1' UNION SELECT password FROM users--", Trailers: sdktest.Headers("x", "y")}, "sqli"},
		{"SQL, no body, trailers", sdktest.Request{Method: "POST", Path: "/?id=1%27%20OR%20%271%27=%271", Headers: form, Trailers: sdktest.Headers("x", "y")}, "sqli"},
		{"a script", sdktest.Request{Path: "/?q=%3Cscript%3Ealert(1)%3C/script%3E", Headers: browser}, "xss"},
		{"a way out of the folder", sdktest.Request{Path: "/?file=../../../../etc/passwd", Headers: browser}, "lfi"},
		{"a shell", sdktest.Request{Path: "/?host=127.0.0.1;cat%20/etc/passwd", Headers: browser}, "rce"},
		{"a scanner", sdktest.Request{Headers: sdktest.Headers("user-agent", "sqlmap/1.7", "accept", "*/*")}, "reputation-scanner"},
		{"log4j in a header", sdktest.Request{Headers: with(browser, "x-api-version", "${jndi:ldap://x.test/a}")}, "rce"},
		{"an unusual method", sdktest.Request{Method: "DELETE", Headers: browser}, "generic"},
		{"a broken form of parts", sdktest.Request{Method: "POST", Headers: with(browser, "content-type", "multipart/form-data; boundary=x", "content-length", "9"), Body: "--y\r\n"}, "broken"},
		{"broken JSON", sdktest.Request{Method: "POST", Headers: with(browser, "content-type", "application/json", "content-length", "9"), Body: `{"a":`}, "broken"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.request.Properties = properties
			before := f.Metric(sdk.MetricName("waf.attacks", sdk.Tag{Name: "kind", Value: tc.kind}))
			got := f.Do(tc.request)
			if tc.kind == "" {
				if got.Upstream == nil || got.Upstream.Body != tc.request.Body {
					t.Errorf("refused: %s; %s", got.Details, strings.Join(got.Logs, "\n"))
				}
				return
			}
			if got.Upstream != nil || !strings.HasPrefix(got.Details, "waf_rule_") || got.Response.Get("cache-control") != "no-store" {
				t.Fatalf("passed: %v; details %q, headers %v", got.Upstream != nil, got.Details, got.Response.Headers)
			}
			if tc.kind == "broken" {
				if got.Response.Status() != 400 {
					t.Errorf("status %d", got.Response.Status())
				}
				return
			}
			if got.Response.Status() != 403 {
				t.Errorf("status %d", got.Response.Status())
			}
			if n := f.Metric(sdk.MetricName("waf.attacks", sdk.Tag{Name: "kind", Value: tc.kind})); n != before+1 {
				t.Errorf("counted %d; %s", n-before, strings.Join(got.Logs, "\n"))
			}
		})
	}
}

// Attacks on one field, with what is needed to let them pass.
func TestPolicies(t *testing.T) {
	t.Parallel()
	const attack = "/?id=1%27%20OR%20%271%27=%271"
	for _, tc := range []struct {
		name, config string
		request      sdktest.Request
		passes       bool
		status       int
	}{
		{"blocks", `{}`, sdktest.Request{Path: attack}, false, 403},
		{"detect", `{"default":{"mode":"detect"}}`, sdktest.Request{Path: attack}, true, 0},
		{"off", `{"default":{"mode":"off"}}`, sdktest.Request{Path: attack}, true, 0},
		{"a higher threshold", `{"default":{"inboundThreshold":1000}}`, sdktest.Request{Path: attack}, true, 0},
		{"a lower threshold", `{"default":{"inboundThreshold":3}}`, sdktest.Request{Authority: "192.0.2.7"}, false, 403},
		{"the threshold is not reached", `{}`, sdktest.Request{Authority: "192.0.2.7"}, true, 0},
		{"one rule excluded", `{"default":{"exclude":[{"rules":["942100"]}]}}`, sdktest.Request{Path: attack}, true, 0},
		{"another rule excluded", `{"default":{"exclude":[{"rules":["942140"]}]}}`, sdktest.Request{Path: attack}, false, 403},
		{"a range", `{"default":{"exclude":[{"rules":["942000-942999"]}]}}`, sdktest.Request{Path: attack}, true, 0},
		{"a tag", `{"default":{"exclude":[{"tags":["attack-sqli"]}]}}`, sdktest.Request{Path: attack}, true, 0},
		{"a target", `{"default":{"exclude":[{"tags":["attack-sqli"],"targets":["ARGS:id"]}]}}`, sdktest.Request{Path: attack}, true, 0},
		{"another target", `{"default":{"exclude":[{"tags":["attack-sqli"],"targets":["ARGS:name"]}]}}`, sdktest.Request{Path: attack}, false, 403},
		{"excluded on this path", `{"rules":[{"match":{"path":{"prefix":"/sql"}},"config":{"exclude":[{"tags":["attack-sqli"]}]}}]}`, sdktest.Request{Path: "/sql" + attack[1:]}, true, 0},
		{"not excluded on that path", `{"rules":[{"match":{"path":{"prefix":"/sql"}},"config":{"exclude":[{"tags":["attack-sqli"]}]}}]}`, sdktest.Request{Path: "/other" + attack[1:]}, false, 403},
		{"no group for it", `{"groups":["xss"]}`, sdktest.Request{Path: attack}, true, 0},
		{"the group alone", `{"groups":["sqli"]}`, sdktest.Request{Path: attack}, false, 403},
		{"a method", `{"default":{"allowedMethods":["GET","DELETE"]}}`, sdktest.Request{Method: "DELETE"}, true, 0},
		{"not that method", `{"default":{"allowedMethods":["GET","DELETE"]}}`, sdktest.Request{Method: "PUT"}, false, 403},
		{"paranoia 1", `{}`, sdktest.Request{Path: "/?q=a%00b%01"}, false, 403},
		{"paranoia 4", `{"default":{"paranoiaLevel":4}}`, sdktest.Request{Path: "/?q=%C3%A4~%7B"}, false, 403},
		{"the same at 1", `{}`, sdktest.Request{Path: "/?q=%C3%A4~%7B"}, true, 0},
		{"bodies pass", `{"default":{"requestBody":{"inspect":false}}}`, sdktest.Request{Method: "POST", Body: "id=1' OR '1'='1"}, true, 0},
		{"a query is judged where bodies pass", `{"default":{"requestBody":{"inspect":false}}}`, sdktest.Request{Method: "POST", Path: attack, Body: "a=b"}, false, 403},
		{"a body of the limit", `{"default":{"requestBody":{"limit":4}}}`, sdktest.Request{Method: "POST", Chunks: []string{"a=", "bc"}}, true, 0},
		{"a body over the limit", `{"default":{"requestBody":{"limit":4}}}`, sdktest.Request{Method: "POST", Chunks: []string{"a=", "bcd"}}, false, 413},
		{"a body over the limit, watched", `{"default":{"mode":"detect","requestBody":{"limit":4}}}`, sdktest.Request{Method: "POST", Chunks: []string{"a=", "bcd"}}, true, 0},
		{"headers over the limit", `{"default":{"headersLimit":200}}`, sdktest.Request{Path: "/?q=" + strings.Repeat("x", 200)}, false, 431},
		{"headers over the limit, watched", `{"default":{"mode":"detect","headersLimit":200}}`, sdktest.Request{Path: "/?q=" + strings.Repeat("x", 200)}, true, 0},
		{"a rule of one's own", `{"directivesAfter":"SecRule REQUEST_HEADERS:x-teapot \"@streq yes\" \"id:1,phase:1,deny,status:418\""}`, sdktest.Request{Headers: sdktest.Headers("x-teapot", "yes")}, false, 418},
		{"a redirect", `{"directivesAfter":"SecRule ARGS:old \"@streq yes\" \"id:1,phase:1,redirect:https://waft.test/new\""}`, sdktest.Request{Path: "/?old=yes"}, false, 302},
		{"set up before", `{"directivesBefore":"SecAction \"id:1,phase:1,pass,nolog,setvar:'tx.allowed_methods=PUT'\""}`, sdktest.Request{Method: "PUT"}, true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := sdktest.New(t, configure, tc.config)
			tc.request.Properties = properties
			tc.request.Headers = with(browser, "content-type", "application/x-www-form-urlencoded", "content-length", "9")
			if tc.request.Method == "" || tc.request.Method == "GET" {
				tc.request.Headers = browser
			}
			if strings.Contains(tc.config, "teapot") {
				tc.request.Headers = with(browser, "x-teapot", "yes")
			}
			got := f.Do(tc.request)
			if (got.Upstream != nil) != tc.passes || !tc.passes && got.Response.Status() != tc.status {
				t.Fatalf("passed %v, status %d, details %q; %s", got.Upstream != nil, got.Response.Status(), got.Details, strings.Join(got.Logs, "\n"))
			}
			blocked, detected := f.Metric("waf.blocked"), f.Metric("waf.detected")
			switch {
			case !tc.passes && (blocked != 1 || detected != 0):
				t.Errorf("blocked %d, detected %d", blocked, detected)
			case strings.Contains(tc.config, "detect") && (blocked != 0 || detected != 1):
				t.Errorf("blocked %d, detected %d", blocked, detected)
			}
			if tc.passes && got.Upstream.Body != tc.request.Body+strings.Join(tc.request.Chunks, "") {
				t.Errorf("body %q", got.Upstream.Body)
			}
		})
	}
}

func TestResponses(t *testing.T) {
	t.Parallel()
	leak := sdktest.Response{Status: 500, Headers: sdktest.Headers("content-type", "text/html"), Body: "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version"}
	for _, tc := range []struct {
		name, config string
		upstream     sdktest.Response
		passes       bool
	}{
		{"not inspected", `{}`, leak, true},
		{"a leak", `{"default":{"response":{"inspect":true}}}`, leak, false},
		{"a leak, watched", `{"default":{"mode":"detect","response":{"inspect":true}}}`, leak, true},
		{"a leak behind the limit", `{"default":{"response":{"inspect":true,"limit":5}}}`, leak, true},
		{"a page", `{"default":{"response":{"inspect":true}}}`, sdktest.Response{Headers: sdktest.Headers("content-type", "text/html"), Body: "hello"}, true},
		{"another type", `{"default":{"response":{"inspect":true}}}`, sdktest.Response{Headers: sdktest.Headers("content-type", "image/png"), Body: leak.Body}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := sdktest.New(t, configure, tc.config).Do(sdktest.Request{Headers: browser, Properties: properties, Upstream: tc.upstream})
			if tc.passes != (!got.Reset && got.Response.Body == tc.upstream.Body) {
				t.Errorf("reset %v, body %q; %s", got.Reset, got.Response.Body, strings.Join(got.Logs, "\n"))
			}
		})
	}
}

// What matched is logged without the client's values, unless they are asked for.
func TestLog(t *testing.T) {
	t.Parallel()
	for _, values := range []bool{false, true} {
		config := `{}`
		if values {
			config = `{"logValues":true}`
		}
		got := sdktest.New(t, configure, config).Do(sdktest.Request{Path: "/?id=1%27%20OR%20%271%27=%271", Headers: with(browser, "x-request-id", "abc"), Properties: properties})
		if !got.Logged(`rule 942100, critical: "SQL Injection Attack Detected via libinjection" in ARGS`) || !got.Logged(`tx "policy-0/abc"`) {
			t.Errorf("log\n%s", strings.Join(got.Logs, "\n"))
		}
		if got.Logged(`OR '1'='1`) != values {
			t.Errorf("values are logged: %v\n%s", !values, strings.Join(got.Logs, "\n"))
		}
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, config, want string }{
		{"mode", `{"default":{"mode":"log"}}`, "default.mode: "},
		{"paranoia", `{"default":{"paranoiaLevel":5}}`, "default.paranoiaLevel: want at most 4, got 5"},
		{"group", `{"groups":["sql"]}`, "groups[0]: "},
		{"limit", `{"default":{"requestBody":{"limit":9000000}}}`, "default.requestBody.limit: want at most 8388608"},
		{"rule's form", `{"default":{"exclude":[{"rules":["942100,1"]}]}}`, "default.exclude[0].rules[0]: "},
		{"target's form", `{"default":{"exclude":[{"rules":["942100"],"targets":["ARGS:a\",deny"]}]}}`, "default.exclude[0].targets[0]: "},
		{"rule that is not there", `{"rules":[{"match":{},"config":{"exclude":[{"rules":["942999"]}]}}]}`, "rules[0].config.exclude[0].rules[0]: no rule that is loaded has the id 942999"},
		{"rule that is not loaded", `{"groups":["xss"],"default":{"exclude":[{"rules":["942100"]}]}}`, "no rule that is loaded has the id 942100"},
		{"tag that is not there", `{"default":{"exclude":[{"tags":["attack-sql"]}]}}`, "default.exclude[0].tags[0]: no rule that is loaded has the tag attack-sql"},
		{"empty exclusion", `{"default":{"exclude":[{"targets":["ARGS"]}]}}`, "default.exclude[0]: it names neither rules nor tags"},
		{"unknown directive", `{"directivesBefore":"# a comment\n\nSecRulez On"}`, `directivesBefore: line 3: invalid WAF config from string: unknown directive "secrulez"`},
		{"unknown operator", `{"directivesAfter":"SecAction \\\n \"id:1,pass\"\nSecRule ARGS \"@nope x\" \\\n  \"id:2,pass\""}`, `directivesAfter: line 3: `},
		{"an id twice", `{"directivesBefore":"SecAction \"id:1,pass\"","directivesAfter":"SecAction \"id:1,pass\""}`, `directivesAfter: line 1: `},
		{"an id of the rule set", `{"directivesAfter":"SecAction \"id:942100,pass\""}`, `directivesAfter: line 1: `},
		{"no end", `{"directivesAfter":"SecRuleEngine On\nSecAction \\"}`, "directivesAfter: line 2: the directive that begins here does not end"},
		{"no end of a list", "{\"directivesAfter\":\"SecDataset x `\\nabc\"}", "directivesAfter: line 1: the directive that begins here does not end"},
		{"a long line", `{"directivesAfter":"SecAction \"id:1,pass\"\n# ` + strings.Repeat("x", 1<<16) + `"}`, "directivesAfter: line 2: 65538 bytes, at most 65535"},
		{"a bad regular expression", `{"directivesAfter":"SecRule ARGS \"@rx (\" \"id:2,pass\""}`, `directivesAfter: line 1: `},
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

// Rules for thousands of exclusions are long; none of them may be lost.
func TestManyExclusions(t *testing.T) {
	t.Parallel()
	var tags, targets []string
	for range 99 {
		tags, targets = append(tags, `"language-multi"`), append(targets, `"ARGS:`+strings.Repeat("x", 100)+`"`)
	}
	var excludes []string
	for range 99 {
		excludes = append(excludes, `{"tags":["attack-xss"],"targets":[`+strings.Join(targets, ",")+`]}`)
	}
	config := `{"default":{"exclude":[` + strings.Join(excludes, ",") + `,{"rules":["942100"]}]}}`
	f := sdktest.New(t, configure, config)
	if got := f.Do(sdktest.Request{Path: "/?id=1%27%20OR%20%271%27=%271", Headers: browser, Properties: properties}); got.Upstream == nil {
		t.Errorf("the last exclusion is lost: %s", got.Details)
	}
	if err := sdktest.Configure(t, configure, `{"default":{"exclude":[{"tags":[`+strings.Join(tags, ",")+`],"targets":[`+strings.Join(targets, ",")+`]}]}}`); err == nil || !strings.Contains(err.Error(), "9801 pairs") {
		t.Errorf("error %v", err)
	}
}

// FuzzDirectives wants that the lines which are named in errors are those of the text.
func FuzzDirectives(f *testing.F) {
	for _, s := range []string{"", "a\\\nb", "SecDataset x `\na\n`", "# c\n\n x \\", "`"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		lines := strings.Split(s, "\n")
		list, err := directivesOf("f", s)
		if err != nil {
			return
		}
		for _, d := range list {
			if d.line < 1 || d.line > len(lines) || strings.TrimSpace(lines[d.line-1]) == "" {
				t.Errorf("%q: %+v", s, d)
			}
		}
	})
}
