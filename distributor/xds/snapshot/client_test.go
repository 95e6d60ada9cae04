package snapshot

import (
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// Listeners that another server replaced may drain still, and their connections use clusters that nothing names any more. So an Envoy that comes with what this one did not
// give it keeps them for as long as that takes, also where this one served it before.
func TestClustersOfListenersThatDrainElsewhere(t *testing.T) {
	before := []model.RenderedResource{staticCluster("a", ""), listener("l", "", "", "a")}
	between := []model.RenderedResource{staticCluster("a", ""), staticCluster("b", ""), listener("l", "two", "", "b")}
	after := newSnapshot(t, staticCluster("b", ""), listener("l", "two", "", "b"))
	start := time.Unix(1_800_000_000, 0)
	claims := func(c *Client, of []model.RenderedResource, incremental bool, now time.Time) {
		c.Reset(incremental)
		for _, k := range [...]Kind{Clusters, Listeners} {
			each, version := map[string]string{}, ""
			for _, r := range of {
				if r.Collection == k.Collection() {
					each[r.Name] = r.Version
				}
			}
			if !incremental {
				each, version = nil, versionOf(newSnapshot(t, of...).by[k])
			}
			c.Claim(k, version, each, now)
			c.Ask(k, nil)
		}
	}
	answer := func(c *Client, now time.Time) *Offer {
		o := c.Next(Gate{Swapped: true}, now)
		if o != nil {
			c.Sent(o)
			c.Accept(o.Kind, now)
		}
		return o
	}
	for name, test := range map[string]struct {
		incremental, known, elsewhere bool
	}{
		"new":                         {elsewhere: true},
		"new, incremental":            {elsewhere: true, incremental: true},
		"back again":                  {elsewhere: true, known: true},
		"back again, incremental":     {elsewhere: true, known: true, incremental: true},
		"never away":                  {known: true},
		"never away, and incremental": {known: true, incremental: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Client{}
			if test.known {
				served := between
				if test.elsewhere {
					served = before
				}
				claims(c, nil, test.incremental, start.Add(-time.Hour))
				c.Aim(newSnapshot(t, served...))
				for answer(c, start.Add(-time.Hour)) != nil {
				}
			}
			claims(c, between, test.incremental, start)
			c.Aim(after)
			c.Recall(newSnapshot(t, between...))
			for answer(c, start) != nil {
			}
			wait := RemovalPause
			if test.elsewhere {
				wait = DrainTime
				if o := answer(c, start.Add(RemovalPause+time.Second)); o != nil {
					t.Fatalf("it is sent %+v", o)
				}
			}
			o := answer(c, start.Add(wait))
			if o == nil || o.Kind != Clusters || !slices.Equal(o.gone, []string{"a"}) {
				t.Errorf("after %s it is sent %+v", wait, o)
			}
		})
	}
}
