package filtertest

import (
	"strings"
	"testing"
)

// TestAttributes reads every typed attribute of the sdk in real Envoys: each is of the type that its method says, or is not
// there for a plain request.
func TestAttributes(t *testing.T) {
	_, files, module := loadFilter(t, "../testdata/attributes")
	for name, binary := range binaries(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report, err := RunEnvoy(t.Context(), binary, module, files, Options{Name: "attributes"})
			if err != nil {
				t.Fatal(err)
			}
			logs := strings.Join(report.Scenarios[0].Observed.Logs, "\n")
			for _, line := range report.Scenarios[0].Observed.Logs {
				if strings.Contains(line, "attribute") && !strings.Contains(line, " = ") && !strings.Contains(line, "NOT_FOUND") {
					t.Errorf("neither there nor absent: %s", line)
				}
			}
			for _, want := range []string{
				`Request.Path = string "/a/b?c=d"`, `Request.URLPath = string "/a/b"`, `Request.Query = string "c=d"`,
				`Request.Method = string "POST"`, `Request.UserAgent = string "probe"`, `Request.Referer = string "there"`,
				`Request.Scheme = string "http"`, `Request.Protocol = string "HTTP/1.1"`, `Request.Size = int64 '\x04'`,
				`Request.Time = time.Time`, `Request.Duration = time.Duration`, `Request.TotalSize = int64`,
				`Response.Code = int64 'É'`, `Response.CodeDetails = string "via_upstream"`, `Response.Flags = int64 '\x00'`,
				`Response.Size = int64 '\x05'`, `Response.BackendLatency = time.Duration`,
				`Connection.SourceAddress = string "127.0.0.1:`, `Connection.DestinationPort = int64`, `Connection.ID = int64`,
				`Connection.MTLS = bool`, `Upstream.Address = string "127.0.0.1:`, `Upstream.Attempts = int64 '\x01'`,
				`Route.Cluster = string "`, `Route.VirtualHost = string "`, `Node.ID = string "`,
				`attribute header = string "one"`, `attribute absent: get property`, `attribute answer = string "two"`, `attribute state = string "\xffset"`,
				`attribute node: get property`, `attribute route: get property`,
			} {
				if !strings.Contains(logs, want) {
					t.Errorf("no line holds %s", want)
				}
			}
			if t.Failed() {
				t.Logf("the log\n%s", logs)
			}
		})
	}
}
