package service_test

import (
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// A node is shown by the dialect that it speaks now: one that had an agent has none any more when its Envoy asks itself, and the other way.
func TestDialectOfANode(t *testing.T) {
	svc := newSite(t).start()
	agent := service.NodeHello{ID: "a", Reports: true, AgentVersion: "1.0.0"}
	for _, hello := range []service.NodeHello{agent, {ID: "a", Reports: true, Dialect: model.DialectADS}, agent} {
		connect(t, svc, hello)
		if n := status(t, svc, "a"); n.Dialect != hello.Dialect || n.AgentVersion != hello.AgentVersion || !n.Reports {
			t.Errorf("after %+v it is %+v", hello, n)
		}
		if got := svc.FetchesModules("a"); got != (hello.Dialect == "") {
			t.Errorf("after %+v it fetches modules: %v", hello, got)
		}
	}
	connect(t, svc, service.NodeHello{ID: "app", Reports: true, AgentVersion: "1.0.0", Dialect: model.DialectApplication})
	connect(t, svc, service.NodeHello{ID: "sink"})
	for _, other := range []string{"app", "sink", "nobody"} {
		if svc.FetchesModules(other) {
			t.Errorf("%s is taken for an agent", other)
		}
	}
}
