package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// readView makes a view of the entries below prefix. passed is told of those that are none of a replica's, which are left out. Whoever may write to etcd can have written
// them, so that each is what the others can call and recognise, or is not there. Where the one that leads cannot be read, nobody is known to: those behind it only wait.
func readView(entries []*mvccpb.KeyValue, passed func(key string, err error)) View {
	var v View
	var first *mvccpb.KeyValue
	for _, kv := range entries {
		key := string(kv.Key)
		switch id, registered := strings.CutPrefix(key, replicasKey); {
		case registered:
			r, err := readReplica(kv.Value)
			if err == nil && r.ID != id {
				err = fmt.Errorf("it is of the replica %.64q", r.ID)
			}
			if err != nil {
				passed(key, err)
				continue
			}
			v.Replicas = append(v.Replicas, r)
		case strings.HasPrefix(key, electionKey+"/") && (first == nil || kv.CreateRevision < first.CreateRevision):
			first = kv
		}
	}
	if first != nil {
		var err error
		if v.Leader, err = readReplica(first.Value); err != nil {
			passed(string(first.Key), err)
		}
	}
	slices.SortFunc(v.Replicas, func(a, b Replica) int { return strings.Compare(a.ID, b.ID) })
	return v
}

// readReplica reads what a replica says of itself.
func readReplica(value []byte) (Replica, error) {
	var r Replica
	if err := json.Unmarshal(value, &r); err != nil {
		return Replica{}, err
	}
	if r.ID == "" || strings.ContainsFunc(r.ID, func(c rune) bool { return (c < 'A' || c > 'Z') && (c < '0' || c > '9') }) { // it becomes the host of a URL
		return Replica{}, fmt.Errorf("%.64q is no id of a replica", r.ID)
	}
	if _, _, err := net.SplitHostPort(r.Address); err != nil {
		return Replica{}, fmt.Errorf("%.64q is no address of a replica: %w", r.Address, err)
	}
	if raw, err := hex.DecodeString(r.Fingerprint); err != nil || len(raw) != sha256.Size {
		return Replica{}, fmt.Errorf("%.128q is no fingerprint of a certificate", r.Fingerprint)
	}
	return r, nil
}
