package distributor

import (
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/access"
)

// Calls with one answer are told from streams, of whatever service.
func TestSingle(t *testing.T) {
	for method, want := range map[string]bool{
		"/waft.v1.ReleaseService/CreateRelease": true, "/waft.v1.ReportService/Report": false, "/waft.v1.RolloutService/WatchRollout": false,
		"/istio.mcp.v1alpha1.ResourceSource/EstablishResourceStream": false, "/no.Service/None": false, "/waft.v1.ReleaseService/None": false, "nonsense": false, "": false,
	} {
		if got := single(method); got != want {
			t.Errorf("%s: %v", method, got)
		}
	}
	for method := range access.Methods() {
		if access.OfMethod(method) == access.Connect && single(method) {
			t.Errorf("%s has one answer", method)
		}
		if strings.HasPrefix(method, "/waft.v1.NodeService/") && !single(method) {
			t.Errorf("%s has several answers", method)
		}
	}
}
