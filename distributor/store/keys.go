package store

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// The keys; doc.go says what is under each.
const (
	prefix         = "/waft/v1/"
	schemaKey      = prefix + "schema"
	headKey        = prefix + "audit-head"
	releases       = prefix + "releases/"
	releaseOrder   = prefix + "release-order/"
	releaseNames   = prefix + "release-names/"
	rollouts       = prefix + "rollouts/"
	rolloutOrder   = prefix + "rollout-order/"
	rolloutsGone   = prefix + "rollouts-gone/"
	nodes          = prefix + "nodes/"
	audit          = prefix + "audit/"
	auditObjects   = prefix + "audit-objects/"
	collections    = prefix + "collections/"
	declarations   = prefix + "declarations/"
	typeSets       = prefix + "types/"
	descriptorSets = prefix + "descriptors/"
	secrets        = prefix + "secrets/"
	secretValues   = prefix + "secret-values/"
	freezeKey      = prefix + "freeze"
	sequenceDigits = 20
)

func releaseKey(id model.ReleaseID) string { return releases + id.Name + "/" + id.Hash }

// ordered is a key that sorts by its sequence.
func ordered(under string, sequence int64) string {
	return under + fmt.Sprintf("%0*d", sequenceDigits, sequence)
}

// sequenceOf reads the sequence at the end of a key made by ordered.
func sequenceOf(key string) (int64, error) {
	n, err := strconv.ParseInt(key[strings.LastIndexByte(key, '/')+1:], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("key %q does not end with a sequence: %w", key, err)
	}
	return n, nil
}

// objectPrefix is where the index of an object is; objects may hold slashes.
func objectPrefix(object string) string { return auditObjects + url.QueryEscape(object) + "/" }

// parseReleaseID reads NAME@HASH, as ReleaseID.String writes it.
func parseReleaseID(text string) (model.ReleaseID, error) {
	name, hash, ok := strings.Cut(text, "@")
	if !ok {
		return model.ReleaseID{}, fmt.Errorf("%q is not NAME@HASH", text)
	}
	return model.ReleaseID{Name: name, Hash: hash}, nil
}
