// Package etcdtest runs etcd as a cluster of members on loopback, for tests of what is to live with the loss of one.
package etcdtest

import (
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/waft-project/waft/loopback"
)

// startTimeout bounds the start of a cluster.
const startTimeout = 60 * time.Second

// Cluster is a running etcd.
type Cluster struct {
	// Endpoints are the client URLs of its members.
	Endpoints []string
	configs   []*embed.Config
	members   []*embed.Etcd
	// stops stop a member each, once.
	stops []func()
}

// Start starts a cluster of so many members, which the options change; they stop with the test.
func Start(t testing.TB, members int, options ...func(*embed.Config)) *Cluster {
	t.Helper()
	dir := t.TempDir()
	var initial []string
	var configs []*embed.Config
	for i := range members {
		config := Member(dir, i, FreeURL(t), FreeURL(t))
		for _, change := range options {
			change(config)
		}
		initial = append(initial, config.Name+"="+config.AdvertisePeerUrls[0].String())
		configs = append(configs, config)
	}
	c := &Cluster{}
	c.configs, c.members, c.stops = configs, make([]*embed.Etcd, members), make([]func(), members)
	for i, config := range configs {
		config.InitialCluster = strings.Join(initial, ",")
		c.start(t, i)
		c.Endpoints = append(c.Endpoints, config.AdvertiseClientUrls[0].String())
	}
	for i := range c.members {
		c.ready(t, i)
	}
	return c
}

// start starts a member, for the first time or with the data that it has left.
func (c *Cluster) start(t testing.TB, i int) {
	t.Helper()
	etcd, err := embed.StartEtcd(c.configs[i])
	if err != nil {
		t.Fatal(err)
	}
	c.members[i], c.stops[i] = etcd, sync.OnceFunc(etcd.Close)
	t.Cleanup(c.stops[i])
}

// ready waits until a member serves.
func (c *Cluster) ready(t testing.TB, i int) {
	t.Helper()
	select {
	case <-c.members[i].Server.ReadyNotify():
	case err := <-c.members[i].Err():
		t.Fatal(err)
	case <-time.After(startTimeout):
		t.Fatal("etcd does not get ready")
	}
}

// Stop stops one member. It may be called more than once.
func (c *Cluster) Stop(i int) { c.stops[i]() }

// Restart stops a member, and starts it again with its data after the options have changed what it is told.
func (c *Cluster) Restart(t testing.TB, i int, options ...func(*embed.Config)) {
	t.Helper()
	c.Stop(i)
	for _, change := range options {
		change(c.configs[i])
	}
	c.start(t, i)
	c.ready(t, i)
}

// TLS has a member take clients by TLS alone, and those alone that show a certificate which one of the authorities vouches for. They are PEM files.
func TLS(cert, key, clients string) func(*embed.Config) {
	return func(config *embed.Config) {
		for _, urls := range [][]url.URL{config.ListenClientUrls, config.AdvertiseClientUrls} {
			for i := range urls {
				urls[i].Scheme = "https"
			}
		}
		config.ClientTLSInfo = transport.TLSInfo{CertFile: cert, KeyFile: key, TrustedCAFile: clients, ClientCertAuth: true}
	}
}

// Leader is which member leads etcd itself; -1 where none does.
func (c *Cluster) Leader() int {
	for i, etcd := range c.members {
		if etcd.Server.Leader() == etcd.Server.MemberID() {
			return i
		}
	}
	return -1
}

// Member is the configuration of one member with its data below dir, but for InitialCluster.
func Member(dir string, i int, client, peer url.URL) *embed.Config {
	config := embed.NewConfig()
	config.Name = "m" + strconv.Itoa(i)
	config.Dir = filepath.Join(dir, config.Name)
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.EnableGRPCGateway = false
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	return config
}

// FreeURL is on a port of loopback that nobody listens on.
func FreeURL(t testing.TB) url.URL {
	t.Helper()
	address, err := loopback.Free()
	if err != nil {
		t.Fatal(err)
	}
	return url.URL{Scheme: "http", Host: address}
}
