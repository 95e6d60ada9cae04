package main

import (
	"strings"
	"testing"
)

func TestParseTemplate(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"empty", "", ""},
		{"text", "a b", ""},
		{"percent", "100%%", ""},
		{"request", "%REQ(x-a)%", ""},
		{"alternative and limit", "<%REQ(x-a?:authority):10%>", ""},
		{"no command", "100% sure", "bad template at byte 3"},
		{"at the end", "%", "bad template at byte 0"},
		{"no parenthesis", "%REQ%", "want %REQ(name)%"},
		{"open parenthesis", "%REQ(x%", "no closing parenthesis"},
		{"not closed", "%REQ(x)", "no closing %"},
		{"parentheses the wrong way round", "%)a(b)%", "unknown command \")a\""},
		{"empty name", "%REQ()%", "the header's name is empty"},
		{"empty alternative", "%REQ(a?)%", "the header's name is empty"},
		{"bad limit", "%REQ(a):x%", "want a colon and the most bytes"},
		{"no limit", "%REQ(a):0%", "want a colon and the most bytes"},
		{"text after the parenthesis", "%REQ(a)b%", "want a colon and the most bytes"},
		{"empty path", "%PROP()%", "want elements separated by dots"},
		{"empty element", "%PROP(a..b)%", "want elements separated by dots"},
		{"lower case", "%req(a)%", "unknown command \"req\""},
		{"too long", strings.Repeat("a", maxTemplateBytes+1), "the most is 4096"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := parseTemplate(test.text, true)
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// FuzzParseTemplate looks for texts that parse to something else than they say.
func FuzzParseTemplate(f *testing.F) {
	for _, s := range []string{"", "a", "%%", "%REQ(a)%", "%REQ(a?b):3%x%PROP(a.b)%", "%RESP(:status)%", "%", "%(", "%)%", "%REQ(a):%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parseTemplate(text, true)
		if err != nil {
			return
		}
		if !strings.Contains(text, "%") && parsed.fixed != text {
			t.Errorf("%q parsed to the text %q", text, parsed.fixed)
		}
		for i, p := range parsed.parts {
			if p.kind == partText && p.text == "" {
				t.Errorf("%q: part %d is empty", text, i)
			}
			if p.kind != partText && !strings.Contains(strings.ToLower(text), strings.ReplaceAll(p.text, "\x00", ".")) {
				t.Errorf("%q: part %d reads %q", text, i, p.text)
			}
		}
	})
}
