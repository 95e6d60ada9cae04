package xds

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/xds/snapshot"
	"github.com/waft-project/waft/envoy"
)

// fuzzWire is a stream whose requests are messages one after the other, each after its length in two bytes. What is sent to it is checked.
type fuzzWire struct {
	t     *testing.T
	data  []byte
	delta bool
	last  string
}

func (*fuzzWire) kind() string     { return "fuzz" }
func (w *fuzzWire) encoding() bool { return w.delta }

func (w *fuzzWire) recv() (request, error) {
	if len(w.data) < 2 {
		return request{}, context.Canceled
	}
	n := min(int(binary.BigEndian.Uint16(w.data)), len(w.data)-2)
	raw := w.data[2 : 2+n]
	w.data = w.data[2+n:]
	if w.delta {
		var m discoveryv3.DeltaDiscoveryRequest
		if err := proto.Unmarshal(raw, &m); err != nil {
			return request{}, err
		}
		return deltaRequestOf(&m), nil
	}
	var m discoveryv3.DiscoveryRequest
	if err := proto.Unmarshal(raw, &m); err != nil {
		return request{}, err
	}
	return requestOf(&m), nil
}

func (w *fuzzWire) send(o *offer, held string, resource []byte, nonce string) error {
	var m proto.Message = &discoveryv3.DiscoveryResponse{}
	if w.delta {
		m = deltaResponseOf(o, held, resource, nonce)
	} else {
		m = responseOf(o, held, resource, nonce)
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		w.t.Errorf("what is sent is no message: %v", err)
	}
	m = m.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(raw, m); err != nil {
		w.t.Errorf("what is sent is no message: %v", err)
	}
	if nonce == w.last {
		w.t.Errorf("the nonce %s is used twice", nonce)
	}
	w.last = nonce
	if r, ok := m.(*discoveryv3.DeltaDiscoveryResponse); ok && len(r.GetRemovedResources()) > 0 {
		w.t.Error("a resource is removed")
	}
	return nil
}

func (w *fuzzWire) sendResources(o *snapshot.Offer, held string, fields [][]byte, nonce string) error {
	raw, err := proto.Marshal(resourcesOf(o, versionOf(o, held), fields, nonce, w.delta))
	if err != nil {
		w.t.Errorf("what is sent is no message: %v", err)
	}
	var m proto.Message = &discoveryv3.DiscoveryResponse{}
	if w.delta {
		m = &discoveryv3.DeltaDiscoveryResponse{}
	}
	if err := proto.Unmarshal(raw, m); err != nil {
		w.t.Errorf("what is sent is no message: %v", err)
	}
	return nil
}

// FuzzRequests has both kinds of streams read whatever an Envoy may send. It must neither panic nor hang, and what is sent back must be well formed.
func FuzzRequests(f *testing.F) {
	seed := func(delta bool, messages ...proto.Message) {
		var data []byte
		for _, m := range messages {
			raw, err := proto.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			data = append(binary.BigEndian.AppendUint16(data, uint16(len(raw))), raw...)
		}
		f.Add(delta, data)
	}
	node := nodeOf("n")
	seed(false, &discoveryv3.DiscoveryRequest{Node: node, TypeUrl: envoy.ExtensionConfigURL, ResourceNames: []string{serves, loads}},
		&discoveryv3.DiscoveryRequest{TypeUrl: envoy.ExtensionConfigURL, ResourceNames: []string{serves, loads}, ResponseNonce: "1", VersionInfo: "none waft-next=x"},
		&discoveryv3.DiscoveryRequest{TypeUrl: envoy.ExtensionConfigURL, ResourceNames: []string{loads}, ResponseNonce: "2"})
	seed(true, &discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: envoy.ExtensionConfigURL, ResourceNamesSubscribe: []string{serves, loads}},
		&discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ExtensionConfigURL, ResponseNonce: "1", ResourceNamesUnsubscribe: []string{serves}, ResourceNamesSubscribe: []string{serves}})
	seed(true, &discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: envoy.ExtensionConfigURL, ResourceNamesSubscribe: []string{serves}, InitialResourceVersions: map[string]string{serves: hashOf("one")}})
	all := dynamicNode()
	seed(false, &discoveryv3.DiscoveryRequest{Node: all, TypeUrl: envoy.ClusterURL}, &discoveryv3.DiscoveryRequest{TypeUrl: envoy.EndpointsURL, ResourceNames: []string{"a"}},
		&discoveryv3.DiscoveryRequest{TypeUrl: envoy.EndpointsURL, ResourceNames: []string{"a"}, ResponseNonce: "2"}, &discoveryv3.DiscoveryRequest{TypeUrl: envoy.ClusterURL, ResponseNonce: "1"},
		&discoveryv3.DiscoveryRequest{TypeUrl: envoy.ListenerURL, VersionInfo: "x"}, &discoveryv3.DiscoveryRequest{TypeUrl: envoy.RouteURL, ResourceNames: []string{"r", "s"}})
	seed(true, &discoveryv3.DeltaDiscoveryRequest{Node: all, TypeUrl: envoy.ClusterURL, InitialResourceVersions: map[string]string{"a": "x", "old": "y"}},
		&discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.EndpointsURL, ResourceNamesSubscribe: []string{"a"}, ResourceNamesUnsubscribe: []string{"a"}},
		&discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ExtensionConfigURL, ResourceNamesSubscribe: []string{serves, "mine"}}, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ClusterURL, ResponseNonce: "1"})
	f.Fuzz(func(t *testing.T, delta bool, data []byte) {
		b := newTable()
		b.setAll("one", described("c:a", "r:r>a", "L:l>r"), "a=1", "b=2")
		s := newServer(t.Context(), b, nil, nil)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_ = s.serve(ctx, &fuzzWire{t: t, data: data, delta: delta}) // any end will do
		if ctx.Err() != nil {
			t.Error("it hangs")
		}
	})
}

// FuzzDesk has one Envoy say and do anything in any order. Whatever it does: an offer waits for its answer, the serving slot is offered nothing but what is
// wanted, or was accepted before, what was refused is not offered again, and once it accepts everything the chain comes to serve.
func FuzzDesk(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})
	f.Add([]byte{7, 0, 2, 5, 2, 2, 2, 1, 3, 9, 3, 9, 3, 3})
	chains := []*chain{chainFor("one", "a=1"), chainFor("two", "a=1:x", "b=2"), chainFor("three", "c=3"), chainFor("none")}
	f.Fuzz(func(t *testing.T, moves []byte) {
		d := &desk{memory: &memory{}}
		d.begin("build", "")
		d.subscribe([]string{serves, loads})
		now := time.Unix(1_800_000_000, 0)
		step := func() {
			before := d.pending
			o := d.next(now)
			if o == nil {
				return
			}
			if before != nil {
				t.Fatalf("%v is offered while %v waits for its answer", o, before)
			}
			if o.slot == serves && (o.chain != d.goal() || o.fetch) {
				t.Fatalf("the serving slot is offered %+v", o)
			}
			if o.chain != nil {
				if _, refused := d.refusalOf(o.chain.hash); refused {
					t.Fatalf("%+v is offered again", o)
				}
			}
			d.sent(o)
		}
		for _, move := range moves {
			switch n := move % 12; n {
			case 0, 1, 2:
				d.assign(chains[int(move/12)%len(chains)], now)
			case 3, 4:
				if d.pending != nil {
					d.accept(now)
				}
			case 5, 6:
				if d.pending != nil {
					d.reject("no", now)
				}
			case 7:
				d.fetched(notice{hashOf(string('1' + rune(move/12)%3)), move%5 == 0}, now)
			case 8:
				d.subscribe([][]string{{serves, loads}, {serves}, {loads}, nil}[move/12%4])
			case 9:
				now = now.Add(time.Duration(move) * time.Second)
			case 10:
				d.forgive()
			case 11:
				m := d.memory
				d = &desk{memory: m}
				d.begin("build", []string{"", hashOf("one"), m.held}[move/12%3])
				d.subscribe([]string{serves, loads})
			}
			step()
			if r := d.report(now); r.State == model.ChainLoaded && r.Step == stepSwap && r.Serving != r.Chain {
				t.Fatalf("the report is %+v", r)
			}
		}
		// From here on Envoy takes everything.
		d.subscribe([]string{serves, loads})
		d.assign(chains[0], now)
		d.forgive()
		for range 20 {
			step()
			if d.pending != nil {
				d.accept(now)
			}
			if at := d.wake(now); !at.IsZero() {
				now = at
			}
		}
		if d.held != chains[0].hash || d.pending != nil {
			t.Fatalf("it never comes to serve: %+v", d)
		}
	})
}
