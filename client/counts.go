package client

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// Counts are of an application, since it was started. They only rise.
type Counts struct {
	// Requests that it has answered, and Errors of them that are its own fault, as 5xx is over HTTP.
	Requests, Errors int64
}

// baseline is what was counted when a chain began to be served.
type baseline struct {
	hash   string
	since  time.Time
	counts Counts
}

// begin counts from now on for the chain of that hash.
func (c *Client) begin(hash string) {
	if c.cfg.Counts != nil {
		c.baseline.Store(&baseline{hash: hash, since: time.Now(), counts: c.cfg.Counts()})
	}
}

// statistics is what was counted with the present chain; nil where nobody counts, or nothing is served. Of the rest, such as refusals and waiting requests, an
// application says nothing, and gates that read it know that they do not know.
func (c *Client) statistics() *waftv1.Statistics {
	base := c.baseline.Load()
	if base == nil || base.hash == "" {
		return nil
	}
	now := c.cfg.Counts()
	requests := max(now.Requests-base.counts.Requests, 0)
	return &waftv1.Statistics{
		Hash: base.hash, Requests: requests, Errors: max(now.Errors-base.counts.Errors, 0), SeenByFilters: requests, // no filter could have missed any
		Since: timestamppb.New(base.since), At: timestamppb.Now(),
	}
}
