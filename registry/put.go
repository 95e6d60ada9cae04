package registry

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"

	oras "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// putManifest writes a manifest by its digest, or under a tag, and gives the head of the answer, which says whether the
// registry keeps referrers.
func (c *Client) putManifest(ctx context.Context, op string, ref Reference, object string, b blob) (http.Header, error) {
	u := url.URL{Scheme: "https", Host: oras.Reference{Registry: ref.Registry}.Host(), Path: "/v2/" + ref.Repository + "/" + kindManifests + "/" + object}
	if c.isPlainHTTP(ref.Registry) {
		u.Scheme = "http"
	}
	subject := ref.String()
	ctx = auth.AppendRepositoryScope(ctx, oras.Reference{Registry: ref.Registry, Repository: ref.Repository}, auth.ActionPull, auth.ActionPush)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), bytes.NewReader(b.data))
	if err != nil {
		return nil, &Error{Op: op, Subject: subject, Kind: ErrInvalidReference, Detail: err.Error(), Next: "check the reference", Err: err}
	}
	req.Header.Set("Content-Type", b.desc.MediaType)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, requestError(ctx, op, subject, ref.Registry, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return nil, statusError(op, subject, ref.Registry, resp)
	}
	// So that the connection can be used again; there is nothing in the body to know.
	const maxIgnoredBytes = 4 << 10
	_, _ = io.CopyN(io.Discard, resp.Body, maxIgnoredBytes)
	return resp.Header, nil
}
