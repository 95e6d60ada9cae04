// Command attributes is a filter for the tests of package sdk: it logs each typed attribute when a stream is complete.
package main

import (
	"github.com/waft-project/waft/sdk"
)

func init() { sdk.Register(configure) }

func main() {}

func configure(*sdk.Plugin, *struct{}) (sdk.Filter, error) { return attributes{}, nil }

type attributes struct{}

func (attributes) NewHandler() sdk.Handler { return attributes{} }

// OnRequestHeaders sets a property, which the end reads as filter state.
func (attributes) OnRequestHeaders(r *sdk.Request) sdk.Action {
	if err := r.Properties().Set("mark", []byte("\xffset")); err != nil {
		r.Log().Error(err.Error())
	}
	return sdk.Continue
}

func (attributes) OnStreamDone(s *sdk.Stream) {
	p := s.Properties()
	read(s, "Request.Path", p.Request().Path)
	read(s, "Request.URLPath", p.Request().URLPath)
	read(s, "Request.Query", p.Request().Query)
	read(s, "Request.Host", p.Request().Host)
	read(s, "Request.Scheme", p.Request().Scheme)
	read(s, "Request.Method", p.Request().Method)
	read(s, "Request.Referer", p.Request().Referer)
	read(s, "Request.UserAgent", p.Request().UserAgent)
	read(s, "Request.ID", p.Request().ID)
	read(s, "Request.Protocol", p.Request().Protocol)
	read(s, "Request.Time", p.Request().Time)
	read(s, "Request.Duration", p.Request().Duration)
	read(s, "Request.Size", p.Request().Size)
	read(s, "Request.TotalSize", p.Request().TotalSize)
	read(s, "Response.Code", p.Response().Code)
	read(s, "Response.CodeDetails", p.Response().CodeDetails)
	read(s, "Response.Flags", p.Response().Flags)
	read(s, "Response.GRPCStatus", p.Response().GRPCStatus)
	read(s, "Response.Size", p.Response().Size)
	read(s, "Response.TotalSize", p.Response().TotalSize)
	read(s, "Response.BackendLatency", p.Response().BackendLatency)
	read(s, "Connection.ID", p.Connection().ID)
	read(s, "Connection.SourceAddress", p.Connection().SourceAddress)
	read(s, "Connection.SourcePort", p.Connection().SourcePort)
	read(s, "Connection.DestinationAddress", p.Connection().DestinationAddress)
	read(s, "Connection.DestinationPort", p.Connection().DestinationPort)
	read(s, "Connection.MTLS", p.Connection().MTLS)
	read(s, "Connection.RequestedServerName", p.Connection().RequestedServerName)
	read(s, "Connection.TLSVersion", p.Connection().TLSVersion)
	read(s, "Connection.LocalSubject", p.Connection().LocalSubject)
	read(s, "Connection.PeerSubject", p.Connection().PeerSubject)
	read(s, "Connection.LocalDNSName", p.Connection().LocalDNSName)
	read(s, "Connection.PeerDNSName", p.Connection().PeerDNSName)
	read(s, "Connection.LocalURI", p.Connection().LocalURI)
	read(s, "Connection.PeerURI", p.Connection().PeerURI)
	read(s, "Connection.PeerCertificateDigest", p.Connection().PeerCertificateDigest)
	read(s, "Connection.TerminationDetails", p.Connection().TerminationDetails)
	read(s, "Upstream.Address", p.Upstream().Address)
	read(s, "Upstream.Port", p.Upstream().Port)
	read(s, "Upstream.LocalAddress", p.Upstream().LocalAddress)
	read(s, "Upstream.TLSVersion", p.Upstream().TLSVersion)
	read(s, "Upstream.LocalSubject", p.Upstream().LocalSubject)
	read(s, "Upstream.PeerSubject", p.Upstream().PeerSubject)
	read(s, "Upstream.LocalDNSName", p.Upstream().LocalDNSName)
	read(s, "Upstream.PeerDNSName", p.Upstream().PeerDNSName)
	read(s, "Upstream.LocalURI", p.Upstream().LocalURI)
	read(s, "Upstream.PeerURI", p.Upstream().PeerURI)
	read(s, "Upstream.PeerCertificateDigest", p.Upstream().PeerCertificateDigest)
	read(s, "Upstream.TransportFailure", p.Upstream().TransportFailure)
	read(s, "Upstream.Attempts", p.Upstream().Attempts)
	read(s, "Upstream.PoolReady", p.Upstream().PoolReady)
	read(s, "Route.Name", p.Route().Name)
	read(s, "Route.VirtualHost", p.Route().VirtualHost)
	read(s, "Route.Cluster", p.Route().Cluster)
	read(s, "Route.FilterChain", p.Route().FilterChain)
	read(s, "Node.ID", p.Node().ID)
	read(s, "Node.Cluster", p.Node().Cluster)
	header, err := p.Request().Header("x-a")
	show(s, "header", header, err)
	absent, err := p.Request().Header("x-absent")
	show(s, "absent", absent, err)
	answer, err := p.Response().Header("x-b")
	show(s, "answer", answer, err)
	state, err := p.FilterState("wasm.mark")
	show(s, "state", string(state), err)
	text, err := p.Node().Text("none")
	show(s, "node", text, err)
	route, err := p.Route().Metadata("none", "key")
	show(s, "route", route, err)
}

// read logs what an attribute gives.
func read[T any](s *sdk.Stream, name string, attribute func() (T, error)) {
	value, err := attribute()
	if err != nil {
		show(s, name, value, err)
		return
	}
	show(s, name, value, nil)
}

func show(s *sdk.Stream, name string, value, err any) {
	if err != nil {
		s.Log().Infof("attribute %s: %v", name, err)
		return
	}
	s.Log().Infof("attribute %s = %T %q", name, value, value)
}
