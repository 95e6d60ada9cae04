package agent

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/waft-project/waft/distributor/model"
)

func TestRedact(t *testing.T) {
	var r redactor
	if got := r.redact("nothing is known"); got != "nothing is known" {
		t.Errorf("%q", got)
	}
	pem := "-----BEGIN KEY-----\nMIGHAgEAMBMGByqGSM49\nAgEGCCqGSM49AwEHBG0w\n-----END KEY-----"
	odd := "sp\u00e4t \"quoted\" <b> \\ &\t"
	long := strings.Repeat("0123456789abcdef", 512)
	r.learn(model.SecretRef{Env: "PEM"}, pem)
	r.learn(model.SecretRef{Env: "ODD"}, odd)
	r.learn(model.SecretRef{Env: "LONG"}, long)
	r.learn(model.SecretRef{Env: "SHORT"}, "x7-9")
	r.learn(model.SecretRef{Env: "TOO_SHORT"}, "num")
	r.learn(model.SecretRef{Env: "WORD"}, "secret")
	r.learn(model.SecretRef{Env: "PLUS"}, "xy>>>xy>>>?")
	r.learn(model.SecretRef{Env: "HEX"}, "x41-password-of-it")
	r.learn(model.SecretRef{Env: "EARLIER"}, "hunter-of-the-")
	r.learn(model.SecretRef{Env: "LATER"}, "the-hunter-of-them")
	asJSON, _ := json.Marshal(odd)
	horse := `correct"horse-battery-staple`
	r.learn(model.SecretRef{Env: "HORSE"}, horse)
	raw, _ := json.Marshal(horse)
	for name, test := range map[string]struct{ text, want string }{
		"JSON in Go":                 {fmt.Sprintf("bad config %q", raw), `bad config "\"[secret env:HORSE]\""`},
		"JSON in JSON in Go":         {fmt.Sprintf("%q", strconv.Quote(string(raw))), `"\"\\\"[secret env:HORSE]\\\"\""`},
		"JSON in protobuf's text":    {`value: "` + textProto(string(raw)) + `"`, `value: "\"[secret env:HORSE]\""`},
		"JSON in a URL":              {url.QueryEscape(string(raw)), "%22[secret env:HORSE]%22"},
		"base64 in a URL":            {url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("xy>>>xy>>>?"))), "[secret env:PLUS]"},
		"escaped otherwise half way": {strings.Replace(pem, "\n", `\n`, 1) + ".", "[secret env:PEM]."},
		"cut off, and escaped twice": {fmt.Sprintf("%.20q", fmt.Sprintf("%q", odd)), `"\"[secret env:ODD]"`},
		"behind a backslash":         {`CORP\x41-password-of-it`, `CORP\[secret env:HEX]`},
		"one begins within another":  {`hunter-of-the-hunter-of-them`, `[secret env:LATER]`},
		"plain":                      {"a " + odd + " b", "a [secret env:ODD] b"},
		"twice":                      {"x7-9x7-9", "[secret env:SHORT][secret env:SHORT]"},
		"too short":                  {"a number", "a number"},
		"what stands in its place":   {"a secret, and x7-9", "a [secret env:WORD], and [secret env:SHORT]"},
		"JSON":                       {string(asJSON), `"[secret env:ODD]"`},
		"Go":                         {fmt.Sprintf("%q", odd), `"[secret env:ODD]"`},
		"ASCII":                      {fmt.Sprintf("%+q", odd), `"[secret env:ODD]"`},
		"protobuf's text":            {`value: "sp\303\244t \"quoted\" <b> \\ &\t"`, `value: "[secret env:ODD]"`},
		"a URL":                      {"?q=" + url.QueryEscape(odd), "?q=[secret env:ODD]"},
		"base64":                     {base64.StdEncoding.EncodeToString([]byte(odd)), "[secret env:ODD]"},
		"a line of it":               {"got AgEGCCqGSM49AwEHBG0w", "got [secret env:PEM]"},
		"cut off":                    {"config: " + long[:100], "config: [secret env:LONG]"},
		"cut off, and on":            {long[:100] + "; more", "[secret env:LONG]; more"},
		"nothing of it":              {"012345678 is a number", "012345678 is a number"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := r.redact(test.text); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestRedactedLog(t *testing.T) {
	var r redactor
	r.learn(model.SecretRef{Env: "A"}, "hunter22")
	var out bytes.Buffer
	log := slog.New(r.handler(slog.NewTextHandler(&out, nil)))
	log.With("with", "hunter22").WithGroup("group").Error("said hunter22", "text", "hunter22", "error", fmt.Errorf("no: %w", errors.New("hunter22")),
		slog.Group("in", "side", "hunter22"), "list", []string{"hunter22"}, "number", 22)
	if text := out.String(); strings.Contains(text, "hunter22") || strings.Count(text, "[secret env:A]") != 6 || !strings.Contains(text, "group.number=22") {
		t.Errorf("logged %s", text)
	}
}

// As many secrets as a chain may name, as large as they may be, hold nobody up; and a line does not grow with how many there are.
func TestRedactorOfLargeSecrets(t *testing.T) {
	var r redactor
	line := strings.Repeat("eight words of one letter each: a b c d e f g h. ", 4)
	began := time.Now()
	for i := range model.MaxChainSecrets {
		r.learn(model.SecretRef{Env: "LARGE"}, fmt.Sprintf("%04d", i)+strings.Repeat("\"large\"\n", (model.MaxSecret-4)/8))
		r.learn(model.SecretRef{Env: "LETTER"}, string(rune('a'+i%8)))
	}
	if took := time.Since(began); took > 10*time.Second { // it was half a minute, and is a tenth of a second
		t.Errorf("took %s to learn them", took)
	}
	if got := r.redact(line); got != line {
		t.Errorf("%q", got)
	}
	if got := r.redact(fmt.Sprintf("%q", `0007"large"`+"\n\"large\"; more")); got != `"[secret env:LARGE]; more"` {
		t.Errorf("%q", got)
	}
}

// What was learned long ago goes first.
func TestRedactorForgets(t *testing.T) {
	var r redactor
	for i := range redactedValues + 1 {
		r.learn(model.SecretRef{Env: "A"}, fmt.Sprintf("value-%04d-of-them", i))
	}
	if got := r.redact("value-0000-of-them value-0001-of-them"); got != "value-0000-of-them [secret env:A]" {
		t.Errorf("%q", got)
	}
	for i := range redactedValues {
		r.learn(model.SecretRef{Env: "A"}, strings.Repeat(fmt.Sprintf("line-%04d", i)+"\n", 3)) // with the same head more than once
	}
	left := 0
	for _, n := range []needles{r.plain, r.loose} {
		for _, list := range n.byHead {
			left += len(list)
		}
		if heads := len(n.byHead); heads == 0 || heads > 4*redactedValues {
			t.Errorf("%d heads", heads)
		}
	}
	if left > 10*redactedValues || strings.Contains(r.redact("value-0100-of-them"), "secret") {
		t.Errorf("%d texts are looked for still", left)
	}
}

// textProto is a string as protobuf's text format escapes it.
func textProto(value string) string {
	var b strings.Builder
	for i := range len(value) {
		switch c := value[i]; {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '"' || c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// What escapes a text, and what escapes that, changes nothing in what is compared.
func FuzzUnescape(f *testing.F) {
	for _, text := range []string{"plain", `correct"horse`, "a\nb\\n\\\\", "100% %25 %41 %", "sp\u00e4t <b> & + \x01\x7f\u2028", `\u0041 \x41 \101 \U0001F600`, "\U0001F600", "a\\\x0123\b\a'"} {
		f.Add(text, uint8(0), uint8(1), uint8(2))
		f.Add(text, uint8(3), uint8(4), uint8(5))
		f.Add(text, uint8(6), uint8(2), uint8(0))
	}
	escapes := []func(string) string{
		func(s string) string { q := strconv.Quote(s); return q[1 : len(q)-1] },
		func(s string) string { q := strconv.QuoteToASCII(s); return q[1 : len(q)-1] },
		func(s string) string { q, _ := json.Marshal(s); return string(q[1 : len(q)-1]) },
		textProto, url.QueryEscape, url.PathEscape,
		func(s string) string { return s },
	}
	f.Fuzz(func(t *testing.T, text string, one, two, three uint8) {
		if !utf8.ValidString(text) || strings.Contains(strings.ToLower(text), "ud") {
			t.Skip() // halves of a character, of which one is escaped with percent signs, are not put together
		}
		written := text
		for _, n := range []uint8{one, two, three} {
			written = escapes[int(n)%len(escapes)](written)
		}
		u := unescape(written)
		if want := unescape(text).text; u.text != want {
			t.Errorf("%q, written %q, is %q and %q", text, written, want, u.text)
		}
		if from, to := u.span(0, len(u.text)); from < 0 || to > len(written) || from > to {
			t.Errorf("from %d to %d of %d", from, to, len(written))
		}
	})
}
