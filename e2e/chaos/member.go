package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/waft-project/waft/distributor/store/etcdtest"
	"github.com/waft-project/waft/loopback"
)

// memberVariable tells this program, started again as a child, to be a member of etcd until it is stopped: nobody needs an etcd of his own for a run.
const memberVariable = "WAFT_CHAOS_ETCD"

// scheduleMembers is how many members an etcd has that is not in the distributor's process: it goes on with two of them.
const scheduleMembers = 3

// member is what that child is told.
type member struct {
	Dir, Client, Peer, Initial string
	Index                      int
}

// RunMember is the whole of such a child, and false in any other process. A program that calls Run must call it first.
func RunMember() (bool, error) {
	text := os.Getenv(memberVariable)
	if text == "" {
		return false, nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var m member
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return true, fmt.Errorf("read what to be a member of: %w", err)
	}
	config := etcdtest.Member(m.Dir, m.Index, url.URL{Scheme: "http", Host: m.Client}, url.URL{Scheme: "http", Host: m.Peer})
	config.InitialCluster = m.Initial
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return true, err
	}
	defer etcd.Close()
	select {
	case <-ctx.Done():
		return true, nil
	case err := <-etcd.Err():
		return true, err
	}
}

// startMembers starts an etcd of so many members, and gives their client URLs.
func (m *machines) startMembers(n int) ([]string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var all []member
	var initial, endpoints []string
	for i := range n {
		one := member{Dir: filepath.Join(m.dir, "etcd"), Index: i}
		if one.Client, err = loopback.Free(); err != nil {
			return nil, err
		}
		if one.Peer, err = loopback.Free(); err != nil {
			return nil, err
		}
		all, initial, endpoints = append(all, one), append(initial, fmt.Sprintf("m%d=http://%s", i, one.Peer)), append(endpoints, "http://"+one.Client)
	}
	for _, one := range all {
		one.Initial = strings.Join(initial, ",")
		text, err := json.Marshal(one)
		if err != nil {
			return nil, err
		}
		m.members = append(m.members, startUnit(m.dir, fmt.Sprintf("etcd-m%d", one.Index+1), "env", memberVariable+"="+string(text), program))
	}
	return endpoints, nil
}
