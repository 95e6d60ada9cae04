package signing

import (
	"context"
	"errors"
	"strings"

	"github.com/waft-project/waft/registry"
)

// Collection is what was found beside an artifact.
type Collection struct {
	// Evidence is what can be verified.
	Evidence []Evidence
	// Skipped says, for a person, what else was there and could not be read as a signature. Anyone who may write to the
	// repository can put such things there, so they are no error.
	Skipped []error
}

// Collect reads the signatures and attestations beside an artifact, in both forms. That there is none is no error; see
// VerifyAll. Of each form, MaxEvidence are read; what comes behind them is skipped, and said to be.
func Collect(ctx context.Context, client *registry.Client, a registry.Artifact) (Collection, error) {
	var c Collection
	referrers, err := client.Referrers(ctx, a, "")
	if err != nil {
		// Whoever may write there can make the list too long, or unreadable. What stands at the tag counts all the same.
		if !skippable(err) {
			return Collection{}, err
		}
		c.Skipped = append(c.Skipped, err)
	}
	n, left := 0, MaxEvidenceBytes
	for _, r := range referrers {
		if !strings.HasPrefix(r.ArtifactType, bundlePrefix) {
			continue
		}
		if n++; n > MaxEvidence || left <= 0 {
			c.Skipped = append(c.Skipped, invalidBundle("there are more than %d bundles or %d bytes of them", MaxEvidence, MaxEvidenceBytes))
			break
		}
		att, err := client.ReadReferrer(ctx, a, r)
		if err != nil {
			if !skippable(err) {
				return Collection{}, err
			}
			c.Skipped = append(c.Skipped, err)
			continue
		}
		left -= len(att.Data)
		c.add(parseBundle(att.Data))
	}
	layers, err := client.Sidecar(ctx, a, signatureSuffix, MaxEvidence)
	if err != nil {
		if !skippable(err) {
			return Collection{}, err
		}
		c.Skipped = append(c.Skipped, err)
	}
	for _, l := range layers {
		c.add(parseLayer(l))
	}
	return c, nil
}

func (c *Collection) add(e Evidence, err error) {
	if err != nil {
		c.Skipped = append(c.Skipped, err)
		return
	}
	c.Evidence = append(c.Evidence, e)
}

// skippable says whether an error is about one thing that somebody wrote, and not about the registry: what is broken proves
// nothing, and must not keep what is beside it from being read.
func skippable(err error) bool {
	for _, kind := range []error{
		registry.ErrNotFound, registry.ErrDigestMismatch, registry.ErrSizeMismatch, registry.ErrTooLarge, registry.ErrInvalidManifest,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}
