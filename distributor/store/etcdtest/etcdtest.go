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
	for _, config := range configs {
		config.InitialCluster = strings.Join(initial, ",")
		etcd, err := embed.StartEtcd(config)
		if err != nil {
			t.Fatal(err)
		}
		stop := sync.OnceFunc(etcd.Close)
		t.Cleanup(stop)
		c.stops = append(c.stops, stop)
		c.members = append(c.members, etcd)
		c.Endpoints = append(c.Endpoints, config.AdvertiseClientUrls[0].String())
	}
	limit := time.After(startTimeout)
	for _, etcd := range c.members {
		select {
		case <-etcd.Server.ReadyNotify():
		case err := <-etcd.Err():
			t.Fatal(err)
		case <-limit:
			t.Fatal("etcd does not get ready")
		}
	}
	return c
}

// Stop stops one member, for good.
func (c *Cluster) Stop(i int) { c.stops[i]() }

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
