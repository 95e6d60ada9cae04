package registry

import (
	"context"
	"fmt"
)

// PullBack reads an artifact back from its registry, by its digest, as each of the readers that its layout is for, and
// compares what they get with what it is: the digest of the image manifest, and the digest and the size of the module, which
// must be known. It gives those readers. Anything else than that is an error, and then the artifact should not get a tag.
func (c *Client) PullBack(ctx context.Context, a Artifact) ([]Reader, error) {
	if a.Module.Digest == "" {
		return nil, &Error{Op: "pull back", Subject: a.Reference.String(), Kind: ErrInvalidModule, Detail: "which module it holds is not known", Next: "pull it first"}
	}
	ref := a.Reference.InRepository().AtDigest(a.Digest)
	seen := map[Digest]Descriptor{}
	same := map[Reader]Reader{ReaderEnvoyGateway: ReaderIstio} // the rules are Istio's, so one reading is enough
	var readers []Reader
	for _, r := range Readers() {
		if !r.Reads(a.Layout) {
			continue
		}
		readers = append(readers, r)
		if _, done := same[r]; done {
			continue
		}
		got, err := c.readAs(ctx, r, ref, seen)
		if err != nil {
			return nil, err
		}
		if got.Artifact != a.Digest || got.Module.Digest != a.Module.Digest || got.Module.Size != a.Module.Size {
			return nil, &Error{Op: "pull back", Subject: a.Reference.String(), Kind: ErrDigestMismatch,
				Detail: fmt.Sprintf("%s gets the module %s of %d bytes, and %s of %d bytes was pushed", r, got.Module.Digest, got.Module.Size, a.Module.Digest, a.Module.Size),
				Next:   "push it again; if that does not help, the registry changes what it is given"}
		}
	}
	return readers, nil
}
