package xds

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/waft-project/waft/distributor/encoded"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/xds/internal/streams"
	"github.com/waft-project/waft/distributor/xds/snapshot"
	"github.com/waft-project/waft/envoy"
)

// stepResources is the step of what Envoy rejected of a release's resources, in the words of the ledger.
const stepResources = "resources"

// acceptedAll is what stands beside a chain of which Envoy has accepted everything.
const acceptedAll = "Envoy has accepted all of it; there is no agent that proves more"

// takesOf reads what an Envoy says that its bootstrap asks for and has.
func takesOf(n *corev3.Node) (model.Takes, error) {
	var t model.Takes
	for _, one := range []struct {
		key  string
		into *[]string
	}{{envoy.MetadataCollections, &t.Collections}, {envoy.MetadataClusters, &t.Clusters}} {
		values := n.GetMetadata().GetFields()[one.key].GetListValue().GetValues()
		if len(values) > MaxTakes {
			return t, status.Errorf(codes.InvalidArgument, "node.metadata.%s has %d items; the limit is %d", one.key, len(values), MaxTakes)
		}
		for _, v := range values {
			text, ok := v.GetKind().(*structpb.Value_StringValue)
			if !ok || text.StringValue == "" || len(text.StringValue) > model.MaxResourceName {
				return t, status.Errorf(codes.InvalidArgument, "node.metadata.%s holds what is no name; write strings of up to %d bytes", one.key, model.MaxResourceName)
			}
			*one.into = append(*one.into, text.StringValue)
		}
	}
	t.Slot = n.GetMetadata().GetFields()[envoy.MetadataSlot].GetBoolValue()
	return t, nil
}

// answers says whether an Envoy that says so of itself is answered about a type of resource.
func answers(t model.Takes, url string) bool {
	kind, is := snapshot.KindOf(url)
	return url == envoy.ExtensionConfigURL || is && kind.AskedBy(t)
}

// resource takes a request for resources of a kind; the record is locked.
func (n *stream) resource(kind snapshot.Kind, req request) {
	if n.answer(kind, req) {
		n.askFor(kind, req)
	}
}

// answer takes what a request says of the latest response of a kind. It says whether what the request asks for counts; the record is locked.
func (n *stream) answer(kind snapshot.Kind, req request) bool {
	s, label, c := n.server, n.wire.kind(), n.desk.client
	answered := c.IsPending(kind) && req.nonce == n.kindNonce[kind]
	if answered && n.suspect {
		n.suspect, n.restarted, n.desk.whole = false, true, ""
		c.Forget()
	}
	switch {
	case answered && req.refused != nil:
		s.metrics.nacks.WithLabelValues(label).Inc()
		reason := streams.Clip(req.refused.GetMessage(), MaxReasonBytes)
		s.log.Debug("Envoy rejected resources", "node", n.id, "collection", kind.Collection(), "reason", reason)
		if c.Reject(kind, reason, time.Now()) {
			n.desk.took(kind)
		}
	case answered:
		s.metrics.acks.WithLabelValues(label).Inc()
		c.Accept(kind, time.Now())
		n.desk.took(kind)
	case req.nonce != "" && req.nonce != n.kindNonce[kind]:
		s.metrics.stale.WithLabelValues(label).Inc()
		if req.whole && c.Asked(kind) {
			return false // its names are as old as its nonce, and come again with the answer to the newer response
		}
	case req.whole && req.nonce == "" && c.IsPending(kind):
		return false // likewise
	}
	return true
}

// askFor takes what a request asks for of a kind; the record is locked.
func (n *stream) askFor(kind snapshot.Kind, req request) {
	c := n.desk.client
	if !c.Asked(kind) {
		version := req.version
		if kind == snapshot.Extensions {
			version = "" // it is that of the slots
		}
		c.Claim(kind, version, withoutSlots(req.versions), time.Now())
		// A new process asks for listeners when it has its clusters.
		n.suspect = n.suspect && !req.holds() && !(kind == snapshot.Listeners && c.Asked(snapshot.Clusters))
	}
	if req.whole {
		c.Ask(kind, noSlots(req.names))
		return
	}
	if room := MaxResourceNames - c.Names(kind); len(req.names) > room {
		req.names = req.names[:max(room, 0)]
	}
	c.AskAlso(kind, noSlots(req.names), req.dropped)
}

// lookBack reads, once, what the node may have been sent before by another distributor, or by this one before it was started anew. An Envoy that is sent changes says
// itself what it holds.
func (n *stream) lookBack(ctx context.Context) error {
	if n.looked || len(n.takes.Collections) == 0 || n.wire.encoding() {
		return nil
	}
	n.looked = true
	before, err := n.server.backend.lately(ctx, n.id)
	if err != nil {
		return err
	}
	for _, collections := range before {
		c, _, err := n.server.chains.chainOf(n.id, collections)
		if err == nil && c != nil {
			n.lately = append(n.lately, c.resources)
		}
	}
	return nil
}

// noSlots are names without those of waft's slots.
func noSlots(names []string) []string {
	var own []string
	for _, name := range names {
		if name != envoy.SlotName && name != envoy.PreloadSlotName {
			own = append(own, name)
		}
	}
	return own
}

func withoutSlots(versions map[string]string) map[string]string {
	own := make(map[string]string, len(versions))
	for name, version := range versions {
		if name != envoy.SlotName && name != envoy.PreloadSlotName {
			own[name] = version
		}
	}
	return own
}

// supply is what to send of the resources now, nil for nothing; the record is locked.
func (d *desk) supply(now time.Time) *snapshot.Offer {
	if d.client == nil || d.want == nil || d.unfit != "" {
		return nil
	}
	g := d.goal()
	switch {
	case g != nil:
		d.client.Aim(g.resources)
	case d.held == "" && !d.client.HoldsAny():
		d.client.Aim(nil)
	}
	for _, before := range d.lately {
		if !d.client.Unknown() {
			break
		}
		d.client.Recall(before)
	}
	o := d.client.Next(snapshot.Gate{Swapped: g != nil && d.swapped(g, now), SlotBusy: d.pending != nil}, now)
	if o != nil {
		d.client.Sent(o)
		d.attempt.offered, d.supplied[o.Kind] = true, ""
		if g != nil {
			d.supplied[o.Kind] = g.hash
		}
	}
	return o
}

// took takes that Envoy has, or may have, what it was sent last of a kind. With a listener or routes of another chain it does not run all of the one before any more,
// whatever becomes of the rest.
func (d *desk) took(k snapshot.Kind) {
	if (k == snapshot.Listeners || k == snapshot.Routes) && d.supplied[k] != d.whole {
		d.whole = ""
	}
}

// swapped says whether the slot holds a chain, or Envoy runs no filters yet and all that can be loaded before is. An Envoy that starts does not ask for the slot before it
// has a listener with it. One that goes on under another stream asks for it, too, but later than for listeners and routes: what it has of listeners says that it will.
func (d *desk) swapped(c *chain, now time.Time) bool {
	if d.slots.serves {
		return d.held == c.hash
	}
	if holds, maybe := d.client.HoldsSlot(); holds || d.ownSlot || maybe && d.needsSlot(c) && now.Before(d.asksUntil) {
		return false
	}
	return !d.slots.loads || d.attempt.of != c.hash || d.attempt.loaded == len(d.attempt.fresh)
}

// slotWake is when an Envoy has asked for the slot if it will; zero: that is over.
func (d *desk) slotWake(now time.Time) time.Time {
	if d.slots.serves || !d.asksUntil.After(now) {
		return time.Time{}
	}
	return d.asksUntil
}

// made says whether a chain's clusters are there, which its filters may call.
func (d *desk) made(c *chain) bool {
	return d.client == nil || d.client.Aims(c.resources) && d.client.Made()
}

// needsSlot says whether a chain cannot be had without the slot that serves.
func (d *desk) needsSlot(c *chain) bool {
	return d.client == nil || d.ownSlot || len(c.filters) > 0 || c.resources.HoldsSlot() || d.slots.serves
}

// lacks says what is missing before Envoy runs all of a chain; empty: nothing.
func (d *desk) lacks(c *chain) string {
	before := d.client != nil && d.whole == c.hash // it had all of it, and then asks for one after the other
	switch {
	case d.held != c.hash && !(before && !d.slots.serves) && d.needsSlot(c):
		if !d.slots.serves {
			return "Envoy has not asked for the slot " + envoy.SlotName
		}
		return "the slot " + envoy.SlotName + " does not hold it yet"
	case d.client == nil:
		return ""
	case !d.client.Aims(c.resources) && !before:
		return "its resources are to be sent"
	case !d.client.Aims(c.resources):
		return ""
	}
	return d.client.Missing(before)
}

// settle notes which chain Envoy runs all of; suspect: it has not said yet that it holds anything.
func (d *desk) settle(suspect bool) {
	if d.client == nil {
		d.whole = d.held
		return
	}
	g := d.goal()
	bare := slices.ContainsFunc([]*chain{g, d.last}, func(c *chain) bool {
		return c != nil && c.hash == d.whole && len(c.filters) == 0 && c.resources.Empty()
	})
	if g != nil && d.held == "" && !d.client.HoldsAny() && !suspect && !bare {
		d.whole = ""
	}
	if g != nil && d.lacks(g) == "" {
		d.whole, d.last = g.hash, g
	}
}

// rejected is why Envoy will not run what it is to run because of its resources; empty: it may.
func (d *desk) rejected() string {
	if d.client == nil || d.want == nil {
		return ""
	}
	text := ""
	for _, r := range d.client.Refused(d.want.resources) {
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf("%s:%s: %s", r.Kind.Collection(), r.Name, r.Reason)
	}
	return streams.Clip(text, MaxReasonBytes)
}

// resourceFields are the resources of an offer as they stand in a response of either kind, each encoded once for all nodes.
func (e *encoder) resourceFields(o *snapshot.Offer, delta bool) ([][]byte, error) {
	fields := make([][]byte, 0, len(o.Resources))
	for _, r := range o.Resources {
		var some [512]byte // mostly enough
		key := append(some[:0], "resource\x00"...)
		if delta {
			key = append(key, "delta"...)
		}
		for _, part := range [...]string{r.Kind.URL(), r.Name, r.Version} {
			key = append(append(key, 0), part...)
		}
		field, err := e.kept.Get(key, func() ([]byte, error) { return encodeResource(r, delta) })
		if err != nil {
			return nil, err
		}
		fields = append(fields, field)
	}
	return fields, nil
}

func encodeResource(r *snapshot.Resource, delta bool) ([]byte, error) {
	packed := &anypb.Any{TypeUrl: r.Kind.URL(), Value: r.Bytes}
	var message proto.Message = packed
	if delta {
		message = &discoveryv3.Resource{Name: r.Name, Version: r.Version, Resource: packed}
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("encode %s:%s: %w", r.Kind.Collection(), r.Name, err)
	}
	return protowire.AppendBytes(protowire.AppendTag(make([]byte, 0, len(raw)+8), fieldResources, protowire.BytesType), raw), nil
}

// fieldRemoved is the number of the field removed_resources in DeltaDiscoveryResponse.
const fieldRemoved = 6

// resourcesOf is a response of either kind with the resources of an offer, which are bytes already.
func resourcesOf(o *snapshot.Offer, version string, fields [][]byte, nonce string, delta bool) *encoded.Message {
	text := func(b []byte, field protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
	}
	own := text(text(text(nil, fieldVersion, version), fieldTypeURL, o.Kind.URL()), fieldNonce, nonce)
	kind := responseType
	if delta {
		kind = deltaResponseType
		for _, name := range o.Removed {
			own = text(own, fieldRemoved, name)
		}
	}
	return encoded.Of(kind, append([][]byte{own}, fields...)...)
}

// versionOf is the version of a response with resources. That of extensions stands behind what the serving slot holds, as versionInfo says.
func versionOf(o *snapshot.Offer, held string) string {
	if o.Kind != snapshot.Extensions {
		return o.Version
	}
	if held == "" {
		held = nothing
	}
	return held + " extensions=" + o.Version
}

func (w sotw) sendResources(o *snapshot.Offer, held string, fields [][]byte, nonce string) error {
	return w.SendMsg(resourcesOf(o, versionOf(o, held), fields, nonce, false))
}

func (w delta) sendResources(o *snapshot.Offer, held string, fields [][]byte, nonce string) error {
	return w.SendMsg(resourcesOf(o, versionOf(o, held), fields, nonce, true))
}
