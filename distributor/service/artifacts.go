package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// Artifact is one in the registry of this process.
type Artifact struct {
	Repository, Digest string
	// Tags that name it, sorted.
	Tags []string
	// Bytes of its manifest and of the blobs that this names.
	Bytes  int64
	Pushed time.Time
	// Needed is why it is; empty: it is not, as was seen for the time Unneeded.
	Needed   string
	Unneeded time.Duration
}

// object is NAME@DIGEST, by which they are sorted.
func (a Artifact) object() string { return a.Repository + "@" + a.Digest }

// ArtifactList is what there is in that registry.
type ArtifactList struct {
	// Artifacts, by repository and digest.
	Artifacts []Artifact
	// Retention is for how long one stays that nothing needs; 0 and negative: for ever.
	Retention time.Duration
	// AllStay is why nothing is removed for now; empty: what nothing needs is, after that time.
	AllStay string
}

// ListArtifacts returns what there is in the registry of this process, by repository and digest, and the token of the next page: of one repository, or of all when that is empty; all, or those that nothing
// needs.
func (s *Service) ListArtifacts(ctx context.Context, repository string, unneeded bool, page Page) (ArtifactList, string, error) {
	limit, after, err := page.span()
	if err == nil {
		err = s.Ready()
	}
	if err != nil || s.artifacts == nil {
		return ArtifactList{}, "", err
	}
	all, err := s.artifacts.List(ctx, after == "")
	if err != nil {
		return ArtifactList{}, "", err
	}
	found := slices.DeleteFunc(slices.Clone(all.Artifacts), func(a Artifact) bool {
		return a.object() <= after || repository != "" && a.Repository != repository || unneeded && a.Needed != ""
	})
	slices.SortFunc(found, func(a, b Artifact) int { return strings.Compare(a.object(), b.object()) })
	next := ""
	if len(found) > limit {
		found = found[:limit]
		next = afterToken(found[limit-1].object())
	}
	all.Artifacts = found
	return all, next, nil
}

// CollectedArtifact is one that a registry of this distributor is about to remove, since nothing needs it.
type CollectedArtifact struct {
	// Repository of the embedded registry, and Digest of the manifest; empty where only blobs go that no manifest names, and both where no repository has them.
	Repository string `json:"repository"`
	Digest     string `json:"digest,omitempty"`
	// Tags that named it.
	Tags []string `json:"tags,omitempty"`
	// Bytes of it and of what it names, and Blobs how many there are without a manifest.
	Bytes int64 `json:"bytes,omitempty"`
	Blobs int   `json:"blobs,omitempty"`
	// Unneeded is for how long it was seen that nothing needs it.
	Unneeded time.Duration `json:"unneeded"`
}

// auditTags is how many tags of an artifact the audit log names: whoever pushes may give it any number.
const auditTags = 10

// object is what the audit log calls it.
func (a CollectedArtifact) object() string {
	switch {
	case a.Repository == "":
		return "registry"
	case a.Digest == "":
		return "artifact/" + a.Repository
	}
	return "artifact/" + a.Repository + "@" + a.Digest
}

func (a CollectedArtifact) detail(replica string) string {
	what := fmt.Sprintf("%d bytes", a.Bytes)
	switch {
	case a.Repository == "":
		what = fmt.Sprintf("%d blobs that no repository has, %d bytes", a.Blobs, a.Bytes)
	case a.Digest == "":
		what = fmt.Sprintf("%d blobs that no manifest names, %d bytes", a.Blobs, a.Bytes)
	case len(a.Tags) > auditTags:
		what += fmt.Sprintf(", tagged %s and %d more", strings.Join(a.Tags[:auditTags], ", "), len(a.Tags)-auditTags)
	case len(a.Tags) > 0:
		what += ", tagged " + strings.Join(a.Tags, ", ")
	}
	return fmt.Sprintf("from the registry of %s: %s; nothing has needed it for %s", replica, what, a.Unneeded.Round(time.Second))
}

// RecordCollected puts into the audit log that artifacts go from the registry of a replica, before they do.
func (s *Service) RecordCollected(ctx context.Context, replica string, artifacts []CollectedArtifact) error {
	if err := s.Ready(); err != nil {
		return err
	}
	const each = MaxBatch / 2 // an entry counts twice
	for part := range slices.Chunk(artifacts, each) {
		entries := make([]model.AuditEntry, len(part))
		for i, a := range part {
			entries[i] = model.AuditEntry{At: s.stamp(), Actor: rollout.Actor, Action: "artifact.collect", Object: a.object(), Detail: a.detail(replica)}
		}
		writeCtx, cancel := context.WithTimeout(ctx, writeTimeout)
		err := s.store.AppendAudit(writeCtx, entries)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}
