package portinterop

import (
	"context"
	"encoding/xml"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// answered are the cases whose request is answered before they do what they are about: h2spec asks as a browser does, and what is no call of gRPC is refused by its
// headers alone. The port's own tests do the same with calls. A content-length no client of gRPC sends, and none is read.
var answered = map[string]bool{
	"Sends a WINDOW_UPDATE frame on half-closed (remote) stream":                                                                           true,
	"Sends a PRIORITY frame on half-closed (remote) stream":                                                                                true,
	"Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded":                                             true,
	"Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream":                                   true,
	`Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame payload length`:                      true,
	`Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the multiple DATA frames payload length`: true,
}

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
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &said); err != nil {
		t.Fatal(err)
	}
	cases, failed := 0, 0
	for _, s := range said.Suites {
		for _, c := range s.Cases {
			cases++
			if c.Failure == nil && c.Error == nil {
				continue
			}
			failed++
			if !answered[c.Name] {
				t.Errorf("%s: %s", s.Name, c.Name)
			}
		}
	}
	if cases < leastCases {
		t.Errorf("%d cases; it says:\n%s", cases, out)
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
	t.Logf("%d cases, of which %d are answered too early to be tried", cases, failed)
}
