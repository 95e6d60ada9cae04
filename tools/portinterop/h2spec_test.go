package portinterop

import (
	"context"
	"encoding/xml"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// answered are the cases whose request is answered before they do what they are about: h2spec asks as a browser does, and what is no call of gRPC is refused by its
// headers alone. The port's own tests do the same with calls. A content-length no client of gRPC sends, and none is read. Each has what h2spec got instead of
// what it wanted, the last line of what it says: the refusal, with which the stream ends, or the reset that has the client send no more.
var answered = map[string]string{
	"Sends a WINDOW_UPDATE frame on half-closed (remote) stream":                                                                           refusal,
	"Sends a PRIORITY frame on half-closed (remote) stream":                                                                                refusal,
	"Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded":                                             refusal,
	"Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream":                                   reset,
	`Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame payload length`:                      refusal,
	`Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the multiple DATA frames payload length`: refusal,
}

const (
	refusal = "HEADERS Frame (length:71, flags:0x05, "
	reset   = "RST_STREAM Frame (length:4, flags:0x00, stream_id:1)"
)

// leastCases is how many there are in all, or more: a report that has fewer is of something else.
const leastCases = 140

func TestH2spec(t *testing.T) {
	program := os.Getenv("H2SPEC")
	if program == "" {
		t.Skip("H2SPEC names no h2spec; `make interop-h2` fetches it")
	}
	host, port, err := net.SplitHostPort(serve(t))
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.xml")
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--host", host, "--port", port, "--junit-report", report).CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed { // it fails where a case does
		t.Fatal(err)
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v; it says:\n%s", err, out)
	}
	var said struct {
		Suites []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name    string  `xml:"classname,attr"`
				Failure *string `xml:"failure"`
				Error   *string `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &said); err != nil {
		t.Fatal(err)
	}
	cases, failed := 0, map[string]bool{}
	for _, s := range said.Suites {
		for _, c := range s.Cases {
			cases++
			if c.Failure == nil && c.Error == nil {
				continue
			}
			got := ""
			for _, said := range []*string{c.Failure, c.Error} {
				if said != nil {
					got += strings.TrimSpace(*said)
				}
			}
			got = got[strings.LastIndexByte(got, '\n')+1:]
			if instead := answered[c.Name]; instead == "" || !strings.HasPrefix(got, instead) {
				t.Errorf("%s: %s: it got %q", s.Name, c.Name, got)
			}
			failed[c.Name] = true
		}
	}
	for name := range answered {
		if !failed[name] {
			t.Errorf("%s: it is tried after all", name)
		}
	}
	if cases < leastCases {
		t.Errorf("%d cases; it says:\n%s", cases, out)
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
	t.Logf("%d cases, of which %d are answered too early to be tried", cases, len(failed))
}
