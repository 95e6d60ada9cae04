package envoy

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// moduleFetchTimeout bounds one attempt of Envoy to fetch a module.
const moduleFetchTimeout = 60 * time.Second

// RemoteModule is a module that Envoy fetches itself, over HTTP, and keeps in its code cache. Envoy checks its digest. A chain with one that is not in
// the cache is rejected and the module fetched meanwhile (nack_on_code_cache_miss), so that what Envoy accepts is loaded; it says the same of a module
// that does not load.
type RemoteModule struct {
	// URL of the module; the host in it goes into the request, the connection is Cluster's.
	URL     string
	Cluster string
	// SHA256 of the module, in hex.
	SHA256 string
	// Unfetched has Envoy accept the chain while it fetches the module; what it accepts is then not loaded. That works for the first chain of a listener
	// only: for later ones Envoy (1.39, 1.40) does not begin to fetch.
	Unfetched bool
	// Again makes the chain another one to Envoy, and nothing else: as many milliseconds more for the fetch. Envoy (1.40) notes what it was sent before it loads it, and
	// accepts the same content once more without a look, though it has rejected it and does not run it.
	Again int
}

func (m RemoteModule) check() error {
	if at, err := url.Parse(m.URL); err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		return fmt.Errorf("%w: the module's address %q is no URL", ErrInvalid, m.URL)
	}
	if sum, err := hex.DecodeString(m.SHA256); err != nil || len(sum) != 32 {
		return fmt.Errorf("%w: %q is not the SHA-256 of a module, in hex", ErrInvalid, m.SHA256)
	}
	if m.Cluster == "" {
		return fmt.Errorf("%w: no cluster is named to fetch the module from", ErrInvalid)
	}
	return nil
}

func (m RemoteModule) source() *corev3.AsyncDataSource {
	return &corev3.AsyncDataSource{Specifier: &corev3.AsyncDataSource_Remote{Remote: &corev3.RemoteDataSource{
		HttpUri: &corev3.HttpUri{
			Uri: m.URL, HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: m.Cluster}, Timeout: durationpb.New(moduleFetchTimeout + time.Duration(m.Again)*time.Millisecond),
		},
		Sha256: m.SHA256,
	}}}
}
