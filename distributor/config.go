package distributor

import (
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/waft-project/waft/distributor/access"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/trust"
)

// Where Run listens when it is not told otherwise. Loopback, because whoever reaches the ports may change what nodes run:
// a distributor for other machines names its addresses, and should have TLS with client certificates.
const (
	DefaultGRPC = "127.0.0.1:7070"
	DefaultHTTP = "127.0.0.1:7071"
	// DefaultPeer is the port for other replicas; it is listened on where there may be any.
	DefaultPeer = "127.0.0.1:7072"
)

// Limits of the servers.
const (
	// DefaultDrain is how long a stop waits for calls that are under way.
	DefaultDrain = 10 * time.Second
	// DefaultConnectionAge is how long a connection to one of several replicas lasts: of 10,000 nodes some five a second find another one.
	DefaultConnectionAge = 30 * time.Minute
	// DefaultCacheBytes is how much the copies of modules on the disk may take.
	DefaultCacheBytes = 10 << 30
	// DefaultForgetNodesAfter is how long a node may be away before its row is removed, and DefaultKeepReleases how many releases of a name stay
	// although nothing needs them; DefaultKeepRollouts is how many rollouts do.
	DefaultForgetNodesAfter = service.DefaultForgetNodesAfter
	DefaultKeepReleases     = service.DefaultKeepReleases
	DefaultKeepRollouts     = service.DefaultKeepRollouts
	// startTimeout bounds the start of the store's member.
	startTimeout = 60 * time.Second
	// headerTimeout bounds the reading of a request's header, and idleTimeout an idle HTTP connection.
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// maxHeaderBytes bounds a request's header.
	maxHeaderBytes = 64 << 10
	// maxUploadBytes bounds the body of one request to the embedded registry: a module at its largest, and then some.
	maxUploadBytes = 512 << 20
)

// Config says what a distributor is. The zero value of each field that is not required has a default.
type Config struct {
	// Data is the data folder; made if need be. Required.
	Data string
	// Etcd names the etcd that holds the state, where it is not embedded. Then any number of distributors that name the same one are replicas of each
	// other, each with a data folder of its own.
	Etcd store.External
	// Peer is the address at which other replicas reach this one, HOST:PORT; port 0 takes a free one. Empty: DefaultPeer. PeerName is the address that
	// they are told, where that is another one; empty: what was bound, with the machine's name in the place of an unspecified host. Both are for replicas alone.
	Peer, PeerName string
	// GRPC and HTTP are the addresses to listen on, HOST:PORT; port 0 takes a free one. Empty: DefaultGRPC, DefaultHTTP.
	GRPC, HTTP string
	// TLS names the files of the server's certificate. Where it names none, and unless Insecure, Run makes an authority in the data folder, and certificates of it
	// for itself and one person (package authority); where Access is nil, too, it writes a policy beside them that lets that person do everything.
	TLS TLS
	// Access is the policy that says who may do what. It is read anew when its file changes. It needs TLS; the certificates of the ClientCA and tokens of
	// the policy's issuers say who a client is. Nil: everybody who reaches the ports may do everything, unless Run makes the certificates.
	Access *access.File
	// Insecure switches TLS off on both ports. It excludes TLS.
	Insecure bool
	// Names are the names, HOST or HOST:PORT, by which people and agents know this distributor's HTTP port. References
	// of modules that begin with one are looked up in the embedded registry itself. localhost, loopback addresses, this
	// machine's own name and the address listened on are known anyway, each with the port listened on; a name without a
	// port means that port.
	Names []string
	// PlainHTTP names the other registries (HOST or HOST:PORT) that are spoken to without TLS.
	PlainHTTP []string
	// Mirrors are, for another registry (HOST or HOST:PORT), the places that are asked before it, in order.
	Mirrors map[string][]registry.Mirror
	// RegistryCA is a PEM file with the authorities that may vouch for other registries. Empty: the system's.
	RegistryCA string
	// SecretKey is the file of the keys that seal the secrets which this distributor keeps (package envelope), the same at all replicas. Empty: where the state is in the data
	// folder, a file there, which is made where there is none and no value is sealed yet; with Etcd none, and no secret can be kept.
	SecretKey string
	// GateHosts are the hosts, HOST or HOST:PORT, that the gates of rollouts may ask. Empty: gates that ask somebody are refused.
	GateHosts []string
	// FreezeFile is a YAML file with a list of windows (model.FreezeWindow) under the key freeze, in which no rollout moves on. It is read
	// again when it changes; one that cannot be read leaves the windows as they were. Empty: there are none.
	FreezeFile string
	// MaxNotServing is the most nodes of the fleet that may be on their way or not serving at any moment. It holds for every rollout, undo and rollback, also one that
	// names no cap; where one does, the smaller counts. The zero value: each rollout's own alone.
	MaxNotServing model.Cap
	// CacheBytes is how much the copies of modules on the disk may take, and of the images they were fetched in. Those of modules
	// that nodes run, are to run or may have to go back to stay whatever they take. 0: DefaultCacheBytes; negative: any amount.
	CacheBytes int64
	// ForgetNodesAfter, KeepReleases and KeepRollouts say what is kept of nodes that are away, of old releases and of ended rollouts, see service.Config.
	ForgetNodesAfter time.Duration
	KeepReleases     int
	KeepRollouts     int
	// RegistryRetention is for how long an artifact of the embedded registry stays that no release and no tag names, and that nobody pulls. 0 and negative: for ever.
	RegistryRetention time.Duration
	// Sinks are those that wait to be dialled, each with a node id of its own: this distributor is their MCP client. It proves itself with
	// TLS.Cert, and wants a certificate for the host of their address; with Insecure there is no TLS.
	Sinks []SinkAddress
	// SinkCA is a PEM file with the authorities that may vouch for them. Empty: the system's.
	SinkCA string
	// TrustPolicy decides what goes into releases and which releases are rolled out. It is read anew when its file changes.
	// Nil: everything is taken; nodes may have policies of their own.
	TrustPolicy *trust.File
	// Version of this program, for those who ask.
	Version string
	// Replica names this distributor in the rows of the nodes that it serves. Empty: the machine's name.
	Replica string
	// StatisticsInterval, StartGrace and CollectEvery go to the service, see service.Config.
	StatisticsInterval, StartGrace, CollectEvery time.Duration
	// Drain is how long a stop waits for calls that are under way. 0: DefaultDrain.
	Drain time.Duration
	// Patience is how long a client may take to read a part of what it is sent, before its connection is ended. 0: DefaultPatience.
	Patience time.Duration
	// RequestsPerSecond is how many calls and requests one client may make in a second, and StreamsPerClient how many streams it may have open. 0:
	// DefaultRequestsPerSecond, DefaultStreamsPerClient; negative: any number.
	RequestsPerSecond, StreamsPerClient int
	// AllowInlineSecrets: private keys and the like may stand in resources, where everybody who may see anything sees them.
	AllowInlineSecrets bool
	// ConnectionAge is how long a connection of a client to one of several replicas lasts, a tenth more or less, so that clients spread anew over the replicas there
	// are. 0: DefaultConnectionAge; negative: as long as the client likes. Without Etcd there is nowhere to go, and it does not count.
	ConnectionAge time.Duration
	// Log takes what an operator should know. Nil: nothing is logged.
	Log *slog.Logger
	// Started, when set, is called once when everything is served, with the addresses that were bound.
	Started func(Addresses)
}

// TLS names PEM files.
type TLS struct {
	// Cert is the server's certificate, with its chain, and Key its key.
	Cert, Key string
	// ClientCA holds the authorities that may vouch for clients; then every client needs a certificate, except for
	// /healthz and /readyz. Empty: any client is taken.
	ClientCA string
}

// Addresses are where a distributor is reached, HOST:PORT.
type Addresses struct{ GRPC, HTTP string }

// withDefaults checks the configuration and fills in what was left out.
func (c Config) withDefaults() (Config, error) {
	if c.Data == "" {
		return c, model.Invalidf("", "data", "name a folder (--data)", "no data folder")
	}
	if c.Insecure && c.TLS != (TLS{}) {
		return c, model.Invalidf("", "tls", "leave out one of them", "TLS files are given and TLS is switched off")
	}
	if !c.Insecure && !c.makesCertificates() && (c.TLS.Cert == "" || c.TLS.Key == "") {
		return c, model.Invalidf("", "tls", "name a certificate and its key (--tls-cert, --tls-key), or none of the files, to have them made, or switch TLS off (--insecure)", "no certificate")
	}
	if c.Access != nil && c.Insecure {
		return c, model.Invalidf("", "access", "name a certificate (--tls-cert, --tls-key) and the authorities that vouch for clients (--client-ca)",
			"there is an access policy and TLS is switched off, so that no client could prove who it is")
	}
	if c.Access != nil && c.TLS.ClientCA == "" && !c.makesCertificates() && len(c.Access.Policy().Issuers()) == 0 {
		return c, model.Invalidf("", "access", "name the authorities that vouch for clients (--client-ca), or issuers in the policy", "there is an access policy, and no client could prove who it is")
	}
	if err := checkSinks(c.Sinks); err != nil {
		return c, err
	}
	if err := c.checkReplicas(); err != nil {
		return c, err
	}
	if c.Etcd.Used() && c.Peer == "" {
		c.Peer = DefaultPeer
	}
	if c.GRPC == "" {
		c.GRPC = DefaultGRPC
	}
	if c.HTTP == "" {
		c.HTTP = DefaultHTTP
	}
	if c.Drain == 0 {
		c.Drain = DefaultDrain
	}
	if c.Patience == 0 {
		c.Patience = DefaultPatience
	}
	if c.RequestsPerSecond == 0 {
		c.RequestsPerSecond = DefaultRequestsPerSecond
	}
	if c.StreamsPerClient == 0 {
		c.StreamsPerClient = DefaultStreamsPerClient
	}
	if c.ConnectionAge == 0 {
		c.ConnectionAge = DefaultConnectionAge
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Replica == "" {
		c.Replica, _ = os.Hostname() // the service has a default of its own
	}
	if c.Version == "" {
		c.Version = "unknown"
	}
	return c, nil
}

// checkReplicas checks what is there for replicas alone.
func (c Config) checkReplicas() error {
	if !c.Etcd.Used() {
		if c.Peer != "" || c.PeerName != "" {
			return model.Invalidf("", "peer", "name the etcd of all replicas (--etcd), or leave out --peer and --peer-name", "a port for other replicas, and no etcd by which there could be any")
		}
		return nil
	}
	if c.makesCertificates() {
		return model.Invalidf("", "tls", "name a certificate and its key (--tls-cert, --tls-key, --client-ca; waft certificate issues them), or switch TLS off (--insecure)",
			"replicas cannot each make an authority of their own: their clients would know one of them")
	}
	if c.PeerName != "" {
		if host, port, err := net.SplitHostPort(c.PeerName); err != nil || host == "" || port == "" {
			return model.Invalidf("", "peer-name", "write HOST:PORT", "%q is no address", c.PeerName)
		}
	}
	return nil
}

// ownNames are all names, HOST:PORT, by which the HTTP port that was bound may be called.
func ownNames(bound net.Addr, configured string, names []string) []string {
	_, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return names
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if h, _, err := net.SplitHostPort(configured); err == nil && h != "" {
		hosts = append(hosts, h)
	}
	if h, err := os.Hostname(); err == nil {
		hosts = append(hosts, h)
	}
	var out []string
	for _, h := range hosts {
		out = append(out, net.JoinHostPort(h, port))
	}
	for _, name := range names {
		if _, _, err := net.SplitHostPort(name); err != nil {
			name = net.JoinHostPort(name, port)
		}
		out = append(out, name)
	}
	return out
}
