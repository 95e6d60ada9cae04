package signing_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
	"github.com/waft-project/waft/registry/signing"
)

// A list of referrers that cannot be read, or is too long, is somebody's doing who may write there; the signature at the tag counts all the same.
func TestListOfReferrersIsJunk(t *testing.T) {
	long := strings.Repeat(fmt.Sprintf(`{"mediaType":"a/b","digest":"%s","size":1},`, registry.DigestOf(nil)), registry.MaxReferrers+1)
	for name, list := range map[string]string{
		"too long":    `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + strings.TrimSuffix(long, ",") + `]}`,
		"too large":   `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]` + strings.Repeat(" ", registry.MaxManifestBytes) + `}`,
		"no index":    `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":{}}`,
		"not JSON":    `signed`,
		"other media": `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			faulty := registrytest.NewFaulty(registrytest.Start(t).Handler)
			e := registrytest.Serve(t, faulty)
			a := push(t, e, "signed/x:1", 1)
			key := mustSign(t, e, a, newSigner(t))
			faulty.Break(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/manifests/sha256-"+a.Digest.Hex()) }, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
				w.Header().Set("Content-Length", fmt.Sprint(len(list)))
				w.Header().Set("Docker-Content-Digest", string(registry.DigestOf([]byte(list))))
				_, _ = w.Write([]byte(list)) // the client may have gone
			})
			found := collect(t, e, a)
			proofs, reasons := found.VerifyAll([]signing.PublicKey{key}, a.Digest)
			if len(proofs) != 1 || proofs[0].Form != signing.FormTag {
				t.Errorf("%+v, %v", proofs, reasons)
			}
			if name != "other media" && len(found.Skipped) == 0 { // a manifest of another kind is an empty list
				t.Error("nothing is said to be skipped")
			}
		})
	}
}
