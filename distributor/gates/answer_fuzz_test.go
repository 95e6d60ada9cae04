package gates

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// FuzzAnswer reads whatever a webhook may answer. It passes by nothing but the word.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"verdict":"pass","detail":"all is well"}`))
	f.Add([]byte(`{"verdict":"PASS"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		switch verdict, detail := readAnswer(text); verdict {
		case model.VerdictPass, model.VerdictFail:
		case model.VerdictInconclusive:
		default:
			t.Errorf("%q is %q (%s)", text, verdict, detail)
		}
	})
}

// answering is a server that gives one answer.
type answering struct {
	status int
	text   string
}

// RoundTrip is http.RoundTripper's.
func (a answering) RoundTrip(request *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(a.text)), Request: request}, nil
}

// FuzzPrometheus reads whatever may listen where Prometheus is thought to be. It passes, or fails, by a number that was written in the answer, and says why in all other cases.
func FuzzPrometheus(f *testing.F) {
	for _, text := range []string{
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"waft"},"value":[1764444000.781,"0.5"]}]}}`,
		`{"status":"success","data":{"resultType":"scalar","result":[1764444000.781,"2"]},"warnings":["it is slow"]}`,
		`{"status":"success","data":{"resultType":"vector","result":[]}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"]]}]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"2","sum":"3","buckets":[[3,"-0.1","0.1","2"]]}]}]}}`,
		`{"status":"error","errorType":"execution","error":"query timed out"}`,
	} {
		f.Add(200, text)
		f.Add(422, text)
	}
	f.Fuzz(func(t *testing.T, status int, text string) {
		const most = 1 << 10
		reader := &Reader{prometheusClient: &http.Client{Transport: bounded{answering{status, text}, most}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
		gate := model.PrometheusGate{Server: "http://prometheus.example", Query: "up", Max: new(1.0)}
		verdict, detail := reader.prometheus(t.Context(), gate, service.GateSubject{})
		switch {
		case detail == "":
			t.Errorf("%d %q is %s, and nothing says why", status, text, verdict)
		case verdict == model.VerdictInconclusive:
		case verdict != model.VerdictPass && verdict != model.VerdictFail:
			t.Errorf("%d %q is %q (%s)", status, text, verdict, detail)
		case status/100 != 2 || len(text) > most || !strings.Contains(text, "value") && !strings.Contains(text, "scalar") && !strings.Contains(text, `\u`):
			t.Errorf("%d %q is %s: %s", status, text, verdict, detail)
		}
	})
}
