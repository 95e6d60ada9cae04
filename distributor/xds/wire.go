package xds

import (
	"fmt"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/waft-project/waft/distributor/encoded"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/xds/snapshot"
	"github.com/waft-project/waft/envoy"
)

// wire is a stream of one of the two kinds. One goroutine may receive while another sends.
type wire interface {
	// kind is the label of metrics.
	kind() string
	recv() (request, error)
	// send sends one offer whose resource is encoded; held is what the serving slot holds.
	send(o *offer, held string, resource []byte, nonce string) error
	// sendResources sends resources that are encoded.
	sendResources(o *snapshot.Offer, held string, fields [][]byte, nonce string) error
	encoding() (delta bool)
}

// request is a request of either kind.
type request struct {
	node    *corev3.Node
	typeURL string
	nonce   string
	// refused is why the response of that nonce was rejected; nil: it was not.
	refused *status.Status
	// whole: names are all that Envoy asks for. Else they are added, and dropped taken away.
	whole          bool
	names, dropped []string
	// held and preloaded are the versions that Envoy says it holds; read of a first request only.
	held, preloaded string
	// version is that of the whole, and versions those of resources, that Envoy says it holds when it first asks for a type.
	version  string
	versions map[string]string
}

// holds says whether Envoy says that it holds anything of the type.
func (r request) holds() bool { return r.version != "" || len(r.versions) > 0 }

// sotw is a stream of the state of the world. Each request is read into the same message, of which nothing stays there while the next is waited for.
type sotw struct {
	grpc.BidiStreamingServer[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]
	request *discoveryv3.DiscoveryRequest
}

func (sotw) kind() string   { return "ads" }
func (sotw) encoding() bool { return false }

func (w sotw) recv() (request, error) {
	if err := w.RecvMsg(w.request); err != nil {
		return request{}, err
	}
	defer w.request.Reset()
	return requestOf(w.request), nil
}

func requestOf(req *discoveryv3.DiscoveryRequest) request {
	return request{
		node: req.GetNode(), typeURL: req.GetTypeUrl(), nonce: req.GetResponseNonce(), refused: req.GetErrorDetail(),
		whole: true, names: req.GetResourceNames(), held: heldBy(req.GetVersionInfo()), version: req.GetVersionInfo(),
	}
}

func (w sotw) send(o *offer, held string, resource []byte, nonce string) error {
	return w.SendMsg(responseOf(o, held, resource, nonce))
}

func responseOf(o *offer, held string, resource []byte, nonce string) *encoded.Message {
	return around(responseType, versionInfo(o, held), resource, nonce)
}

// The types of responses.
var (
	responseType      = (*discoveryv3.DiscoveryResponse)(nil).ProtoReflect().Type()
	deltaResponseType = (*discoveryv3.DeltaDiscoveryResponse)(nil).ProtoReflect().Type()
)

// Numbers of fields, in DiscoveryResponse and in DeltaDiscoveryResponse; that of the resources is fieldResources.
const (
	fieldVersion = 1
	fieldTypeURL = 4
	fieldNonce   = 5
)

// slotsType is the field with the type of what slots hold, in a response of either kind.
var slotsType = protowire.AppendString(protowire.AppendTag(nil, fieldTypeURL, protowire.BytesType), envoy.ExtensionConfigURL)

// around is a response of either kind: the resource, which is bytes already and shared with other streams, and what is this one's own before it.
func around(kind protoreflect.MessageType, version string, resource []byte, nonce string) *encoded.Message {
	own := make([]byte, 0, len(version)+len(nonce)+8) // tags and lengths
	own = protowire.AppendString(protowire.AppendTag(own, fieldVersion, protowire.BytesType), version)
	own = protowire.AppendString(protowire.AppendTag(own, fieldNonce, protowire.BytesType), nonce)
	return encoded.Of(kind, own, resource, slotsType)
}

// nothing stands for no version in versionInfo.
const nothing = "none"

// versionInfo is the version of a response of the state of the world. Envoy gives back the latest that it accepted when it connects anew, one for all its slots,
// so it begins with what the serving slot then holds.
func versionInfo(o *offer, held string) string {
	if o.slot == envoy.SlotName {
		return o.version
	}
	if held == "" {
		held = nothing
	}
	return held + " " + o.slot + "=" + o.version
}

// heldBy reads it; empty: the serving slot holds nothing, or what is not of this server.
func heldBy(info string) string {
	held, _, _ := strings.Cut(info, " ")
	return ownVersion(held)
}

// ownVersion is a version of the serving slot as Envoy says it, or empty where it cannot be one.
func ownVersion(version string) string {
	if model.ValidateDigest("", "version", version) != nil {
		return ""
	}
	return version
}

// delta is an incremental stream. Requests are read as by sotw.
type delta struct {
	grpc.BidiStreamingServer[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]
	request *discoveryv3.DeltaDiscoveryRequest
}

func (delta) kind() string   { return "delta" }
func (delta) encoding() bool { return true }

func (w delta) recv() (request, error) {
	if err := w.RecvMsg(w.request); err != nil {
		return request{}, err
	}
	defer w.request.Reset()
	return deltaRequestOf(w.request), nil
}

func deltaRequestOf(req *discoveryv3.DeltaDiscoveryRequest) request {
	r := request{
		node: req.GetNode(), typeURL: req.GetTypeUrl(), nonce: req.GetResponseNonce(), refused: req.GetErrorDetail(),
		names: req.GetResourceNamesSubscribe(), dropped: req.GetResourceNamesUnsubscribe(),
		held: ownVersion(req.GetInitialResourceVersions()[envoy.SlotName]), versions: req.GetInitialResourceVersions(),
	}
	if next := req.GetInitialResourceVersions()[envoy.PreloadSlotName]; len(next) <= MaxVersionBytes {
		r.preloaded = next
	}
	return r
}

func (w delta) send(o *offer, held string, resource []byte, nonce string) error {
	return w.SendMsg(deltaResponseOf(o, held, resource, nonce))
}

func deltaResponseOf(o *offer, held string, resource []byte, nonce string) *encoded.Message {
	return around(deltaResponseType, versionInfo(o, held), resource, nonce)
}

// maxNames bounds the names of a type that an Envoy may ask for. Slots are few, but extensions are of their type, of which a release may have many.
func maxNames(url string, t model.Takes) int {
	if url == envoy.ExtensionConfigURL && len(t.Collections) == 0 {
		return MaxNames
	}
	return MaxResourceNames
}

// check says what is too much in a request of an Envoy that takes these.
func (r request) check(t model.Takes) error {
	limit := maxNames(r.typeURL, t)
	if n := len(r.names) + len(r.dropped); n > limit {
		return fmt.Errorf("a request names %d resources; the limit is %d", n, limit)
	}
	if n := len(r.versions); n > MaxResourceNames {
		return fmt.Errorf("a request says of %d resources that they are there; the limit is %d", n, MaxResourceNames)
	}
	for name, version := range r.versions {
		if len(name) > model.MaxResourceName || len(version) > MaxVersionBytes {
			return fmt.Errorf("a name or version of a resource that is there has more than %d or %d bytes", model.MaxResourceName, MaxVersionBytes)
		}
	}
	return nil
}
