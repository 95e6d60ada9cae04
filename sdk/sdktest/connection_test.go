package sdktest_test

import (
	"context"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// asked is a filter that asks a service about a connection's data, from its second byte on, and marks what it lets go.
type asked struct{}

func (asked) NewConnection() sdk.ConnectionHandler { return asked{} }

func (asked) OnDownstreamData(ctx context.Context, c *sdk.Connection, data *sdk.Body) sdk.Action {
	sent, err := data.Bytes()
	if err != nil {
		return c.Close()
	}
	if len(sent) < 2 && !data.End() {
		return sdk.NeedMore
	}
	answer, err := sdk.Fetch(ctx, sdk.FetchRequest{Cluster: "judge", Method: "POST", Body: sent})
	if err != nil || answer.Status != 200 || data.Prepend([]byte("<")) != nil || data.Append([]byte(">")) != nil {
		return c.Close()
	}
	return sdk.Continue
}

// TestDataWaits has a connection's data wait for a callout.
func TestDataWaits(t *testing.T) {
	judge := func(r sdk.FetchRequest) (*sdk.FetchResponse, error) {
		status := 200
		if string(r.Body) == "bad" {
			status = 403
		}
		return &sdk.FetchResponse{Status: status}, nil
	}
	configure := func(*sdk.Plugin, *struct{}) (sdk.NetworkFilter, error) { return asked{}, nil }
	f := sdktest.NewNetwork(t, configure, `{}`, sdktest.Cluster("judge", judge))

	good := f.Connect(nil)
	good.Send("o", false)
	if good.Upstream != "" {
		t.Errorf("one byte went upstream: %q", good.Upstream)
	}
	good.Send("ne", false)
	good.Send("two", true)
	if good.Closed() || good.Upstream != "<one><two>" {
		t.Errorf("closed %v, upstream got %q", good.Closed(), good.Upstream)
	}
	good.Close()

	bad := f.Connect(nil)
	bad.Send("bad", false)
	if !bad.Closed() || bad.Upstream != "" {
		t.Errorf("closed %v, upstream got %q", bad.Closed(), bad.Upstream)
	}
	bad.Close()
}
