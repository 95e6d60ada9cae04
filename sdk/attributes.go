package sdk

import "time"

// The attributes that Envoy documents, typed. Each is a property ([Properties]), and one host call; the errors are those of
// [Properties]. Which of them are there depends on the phase: https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes.

// Request are the attributes of the request.
func (p Properties) Request() RequestAttributes { return RequestAttributes{p} }

// RequestAttributes are the attributes of the request.
type RequestAttributes struct{ properties Properties }

// Path is path and query, as :path is now: request.path.
func (a RequestAttributes) Path() (string, error) {
	return a.properties.String("request.path")
}

// URLPath is the path without the query: request.url_path.
func (a RequestAttributes) URLPath() (string, error) {
	return a.properties.String("request.url_path")
}

// Query is the query, without its question mark: request.query.
func (a RequestAttributes) Query() (string, error) {
	return a.properties.String("request.query")
}

// Host is the :authority: request.host.
func (a RequestAttributes) Host() (string, error) {
	return a.properties.String("request.host")
}

// Scheme is http or https: request.scheme.
func (a RequestAttributes) Scheme() (string, error) {
	return a.properties.String("request.scheme")
}

// Method is the :method: request.method.
func (a RequestAttributes) Method() (string, error) {
	return a.properties.String("request.method")
}

// Header is the values of a header, joined by commas: request.headers.
func (a RequestAttributes) Header(name string) (string, error) {
	return a.properties.String(PropertyPath("request", "headers", name))
}

// Referer is the header referer: request.referer.
func (a RequestAttributes) Referer() (string, error) {
	return a.properties.String("request.referer")
}

// UserAgent is the header user-agent: request.useragent.
func (a RequestAttributes) UserAgent() (string, error) {
	return a.properties.String("request.useragent")
}

// ID is the header x-request-id, as Envoy knows it: request.id.
func (a RequestAttributes) ID() (string, error) {
	return a.properties.String("request.id")
}

// Protocol is HTTP/1.0, HTTP/1.1, HTTP/2 or HTTP/3: request.protocol.
func (a RequestAttributes) Protocol() (string, error) {
	return a.properties.String("request.protocol")
}

// Time is when the first byte came: request.time.
func (a RequestAttributes) Time() (time.Time, error) {
	return a.properties.Time("request.time")
}

// Duration is how long the whole stream took; when it is complete: request.duration.
func (a RequestAttributes) Duration() (time.Duration, error) {
	return a.properties.Duration("request.duration")
}

// Size is the bytes of the body: what content-length says, else what was counted: request.size.
func (a RequestAttributes) Size() (int64, error) {
	return a.properties.Int64("request.size")
}

// TotalSize is the bytes of the headers and the body: request.total_size.
func (a RequestAttributes) TotalSize() (int64, error) {
	return a.properties.Int64("request.total_size")
}

// Response are the attributes of the response.
func (p Properties) Response() ResponseAttributes { return ResponseAttributes{p} }

// ResponseAttributes are the attributes of the response.
type ResponseAttributes struct{ properties Properties }

// Code is the status: response.code.
func (a ResponseAttributes) Code() (int64, error) {
	return a.properties.Int64("response.code")
}

// CodeDetails is why the response has its status, in Envoy's words, for example via_upstream: response.code_details.
func (a ResponseAttributes) CodeDetails() (string, error) {
	return a.properties.String("response.code_details")
}

// Flags is Envoy's response flags, as bits: response.flags.
func (a ResponseAttributes) Flags() (int64, error) {
	return a.properties.Int64("response.flags")
}

// GRPCStatus is the gRPC status: response.grpc_status.
func (a ResponseAttributes) GRPCStatus() (int64, error) {
	return a.properties.Int64("response.grpc_status")
}

// Header is the values of a header, joined by commas: response.headers.
func (a ResponseAttributes) Header(name string) (string, error) {
	return a.properties.String(PropertyPath("response", "headers", name))
}

// Trailer is the values of a trailer, joined by commas: response.trailers.
func (a ResponseAttributes) Trailer(name string) (string, error) {
	return a.properties.String(PropertyPath("response", "trailers", name))
}

// Size is the bytes of the body: response.size.
func (a ResponseAttributes) Size() (int64, error) {
	return a.properties.Int64("response.size")
}

// TotalSize is the bytes of headers, body and trailers: response.total_size.
func (a ResponseAttributes) TotalSize() (int64, error) {
	return a.properties.Int64("response.total_size")
}

// BackendLatency is the time from the first byte sent upstream to the last received: response.backend_latency.
func (a ResponseAttributes) BackendLatency() (time.Duration, error) {
	return a.properties.Duration("response.backend_latency")
}

// Connection are the attributes of the connection from the client.
func (p Properties) Connection() ConnectionAttributes { return ConnectionAttributes{p} }

// ConnectionAttributes are the attributes of the connection from the client.
type ConnectionAttributes struct{ properties Properties }

// ID is its number in this Envoy: connection.id.
func (a ConnectionAttributes) ID() (int64, error) {
	return a.properties.Int64("connection.id")
}

// SourceAddress is the client's address with port, after the proxy protocol and x-forwarded-for as Envoy is configured: source.address.
func (a ConnectionAttributes) SourceAddress() (string, error) {
	return a.properties.String("source.address")
}

// SourcePort is the client's port: source.port.
func (a ConnectionAttributes) SourcePort() (int64, error) {
	return a.properties.Int64("source.port")
}

// DestinationAddress is Envoy's own address with port: destination.address.
func (a ConnectionAttributes) DestinationAddress() (string, error) {
	return a.properties.String("destination.address")
}

// DestinationPort is Envoy's own port: destination.port.
func (a ConnectionAttributes) DestinationPort() (int64, error) {
	return a.properties.Int64("destination.port")
}

// MTLS is whether the client proved a certificate: connection.mtls.
func (a ConnectionAttributes) MTLS() (bool, error) {
	return a.properties.Bool("connection.mtls")
}

// RequestedServerName is the server name of TLS (SNI): connection.requested_server_name.
func (a ConnectionAttributes) RequestedServerName() (string, error) {
	return a.properties.String("connection.requested_server_name")
}

// TLSVersion is for example TLSv1.3: connection.tls_version.
func (a ConnectionAttributes) TLSVersion() (string, error) {
	return a.properties.String("connection.tls_version")
}

// LocalSubject is the subject of Envoy's certificate: connection.subject_local_certificate.
func (a ConnectionAttributes) LocalSubject() (string, error) {
	return a.properties.String("connection.subject_local_certificate")
}

// PeerSubject is the subject of the client's certificate: connection.subject_peer_certificate.
func (a ConnectionAttributes) PeerSubject() (string, error) {
	return a.properties.String("connection.subject_peer_certificate")
}

// LocalDNSName is the first DNS name in Envoy's certificate: connection.dns_san_local_certificate.
func (a ConnectionAttributes) LocalDNSName() (string, error) {
	return a.properties.String("connection.dns_san_local_certificate")
}

// PeerDNSName is the first DNS name in the client's certificate: connection.dns_san_peer_certificate.
func (a ConnectionAttributes) PeerDNSName() (string, error) {
	return a.properties.String("connection.dns_san_peer_certificate")
}

// LocalURI is the first URI in Envoy's certificate: connection.uri_san_local_certificate.
func (a ConnectionAttributes) LocalURI() (string, error) {
	return a.properties.String("connection.uri_san_local_certificate")
}

// PeerURI is the first URI in the client's certificate, for example its SPIFFE id: connection.uri_san_peer_certificate.
func (a ConnectionAttributes) PeerURI() (string, error) {
	return a.properties.String("connection.uri_san_peer_certificate")
}

// PeerCertificateDigest is the sha256 of the client's certificate in hex: connection.sha256_peer_certificate_digest.
func (a ConnectionAttributes) PeerCertificateDigest() (string, error) {
	return a.properties.String("connection.sha256_peer_certificate_digest")
}

// TerminationDetails is why Envoy closed the connection: connection.termination_details.
func (a ConnectionAttributes) TerminationDetails() (string, error) {
	return a.properties.String("connection.termination_details")
}

// Upstream are the attributes of the connection to the upstream.
func (p Properties) Upstream() UpstreamAttributes { return UpstreamAttributes{p} }

// UpstreamAttributes are the attributes of the connection to the upstream.
type UpstreamAttributes struct{ properties Properties }

// Address is the upstream's address with port: upstream.address.
func (a UpstreamAttributes) Address() (string, error) {
	return a.properties.String("upstream.address")
}

// Port is the upstream's port: upstream.port.
func (a UpstreamAttributes) Port() (int64, error) {
	return a.properties.Int64("upstream.port")
}

// LocalAddress is Envoy's own address with port: upstream.local_address.
func (a UpstreamAttributes) LocalAddress() (string, error) {
	return a.properties.String("upstream.local_address")
}

// TLSVersion is for example TLSv1.3: upstream.tls_version.
func (a UpstreamAttributes) TLSVersion() (string, error) {
	return a.properties.String("upstream.tls_version")
}

// LocalSubject is the subject of Envoy's certificate: upstream.subject_local_certificate.
func (a UpstreamAttributes) LocalSubject() (string, error) {
	return a.properties.String("upstream.subject_local_certificate")
}

// PeerSubject is the subject of the upstream's certificate: upstream.subject_peer_certificate.
func (a UpstreamAttributes) PeerSubject() (string, error) {
	return a.properties.String("upstream.subject_peer_certificate")
}

// LocalDNSName is the first DNS name in Envoy's certificate: upstream.dns_san_local_certificate.
func (a UpstreamAttributes) LocalDNSName() (string, error) {
	return a.properties.String("upstream.dns_san_local_certificate")
}

// PeerDNSName is the first DNS name in the upstream's certificate: upstream.dns_san_peer_certificate.
func (a UpstreamAttributes) PeerDNSName() (string, error) {
	return a.properties.String("upstream.dns_san_peer_certificate")
}

// LocalURI is the first URI in Envoy's certificate: upstream.uri_san_local_certificate.
func (a UpstreamAttributes) LocalURI() (string, error) {
	return a.properties.String("upstream.uri_san_local_certificate")
}

// PeerURI is the first URI in the upstream's certificate: upstream.uri_san_peer_certificate.
func (a UpstreamAttributes) PeerURI() (string, error) {
	return a.properties.String("upstream.uri_san_peer_certificate")
}

// PeerCertificateDigest is the sha256 of the upstream's certificate in hex: upstream.sha256_peer_certificate_digest.
func (a UpstreamAttributes) PeerCertificateDigest() (string, error) {
	return a.properties.String("upstream.sha256_peer_certificate_digest")
}

// TransportFailure is why the connection could not be made: upstream.transport_failure_reason.
func (a UpstreamAttributes) TransportFailure() (string, error) {
	return a.properties.String("upstream.transport_failure_reason")
}

// Attempts is how often the request was sent, with retries: upstream.request_attempt_count.
func (a UpstreamAttributes) Attempts() (int64, error) {
	return a.properties.Int64("upstream.request_attempt_count")
}

// PoolReady is the time until a connection was there: upstream.cx_pool_ready_duration.
func (a UpstreamAttributes) PoolReady() (time.Duration, error) {
	return a.properties.Duration("upstream.cx_pool_ready_duration")
}

// Route are the attributes of what Envoy chose for the request.
func (p Properties) Route() RouteAttributes { return RouteAttributes{p} }

// RouteAttributes are the attributes of what Envoy chose for the request.
type RouteAttributes struct{ properties Properties }

// Name is the route's name: xds.route_name.
func (a RouteAttributes) Name() (string, error) {
	return a.properties.String("xds.route_name")
}

// VirtualHost is the virtual host's name: xds.virtual_host_name.
func (a RouteAttributes) VirtualHost() (string, error) {
	return a.properties.String("xds.virtual_host_name")
}

// Cluster is the cluster's name: xds.cluster_name.
func (a RouteAttributes) Cluster() (string, error) {
	return a.properties.String("xds.cluster_name")
}

// FilterChain is the name of the listener's filter chain: xds.filter_chain_name.
func (a RouteAttributes) FilterChain() (string, error) {
	return a.properties.String("xds.filter_chain_name")
}

// Metadata is a text in the route's metadata: the name of the filter that it is for, then its keys: xds.route_metadata.
func (a RouteAttributes) Metadata(filter string, keys ...string) (string, error) {
	return a.properties.metadata("route_metadata", filter, keys)
}

// VirtualHostMetadata is a text in the virtual host's metadata, as [RouteAttributes.Metadata]: xds.virtual_host_metadata.
func (a RouteAttributes) VirtualHostMetadata(filter string, keys ...string) (string, error) {
	return a.properties.metadata("virtual_host_metadata", filter, keys)
}

// ClusterMetadata is a text in the cluster's metadata, as [RouteAttributes.Metadata]: xds.cluster_metadata.
func (a RouteAttributes) ClusterMetadata(filter string, keys ...string) (string, error) {
	return a.properties.metadata("cluster_metadata", filter, keys)
}

// UpstreamHostMetadata is a text in the chosen endpoint's metadata, as [RouteAttributes.Metadata]: xds.upstream_host_metadata.
func (a RouteAttributes) UpstreamHostMetadata(filter string, keys ...string) (string, error) {
	return a.properties.metadata("upstream_host_metadata", filter, keys)
}

// ListenerMetadata is a text in the listener's metadata, as [RouteAttributes.Metadata]: xds.listener_metadata.
func (a RouteAttributes) ListenerMetadata(filter string, keys ...string) (string, error) {
	return a.properties.metadata("listener_metadata", filter, keys)
}

// metadata is a text in one of the metadata of xds.
func (p Properties) metadata(which, filter string, keys []string) (string, error) {
	path := append([]string{"xds", which, "filter_metadata", filter}, keys...)
	return p.String(PropertyPath(path...))
}

// Node are the attributes of this Envoy, which its bootstrap says.
func (p Properties) Node() NodeAttributes { return NodeAttributes{p} }

// NodeAttributes are the attributes of this Envoy.
type NodeAttributes struct{ properties Properties }

// ID is the node's id: xds.node.id.
func (a NodeAttributes) ID() (string, error) { return a.properties.String("xds.node.id") }

// Cluster is the node's cluster: xds.node.cluster.
func (a NodeAttributes) Cluster() (string, error) { return a.properties.String("xds.node.cluster") }

// Text is a text in the node's metadata: xds.node.metadata.
func (a NodeAttributes) Text(keys ...string) (string, error) {
	return a.properties.String(a.path(keys))
}

// Number is a number in the node's metadata.
func (a NodeAttributes) Number(keys ...string) (float64, error) {
	return a.properties.Float64(a.path(keys))
}

// Bool is a boolean in the node's metadata.
func (a NodeAttributes) Bool(keys ...string) (bool, error) { return a.properties.Bool(a.path(keys)) }

func (a NodeAttributes) path(keys []string) string {
	return PropertyPath(append([]string{"xds", "node", "metadata"}, keys...)...)
}

// FilterState is a value that another filter set for the stream, serialised as its type says: filter_state.KEY. What
// [Properties.Set] sets has the key wasm.NAME.
func (p Properties) FilterState(key string) ([]byte, error) {
	return p.Bytes(PropertyPath("filter_state", key))
}
