// Command istiofetch fetches a module with the code that Istio's agent fetches with, and says what it got: the digest of the image
// manifest, which Istio compares with a WasmPlugin's sha256, and that of the module. `make interop` runs it.
//
// It is a module of its own, since Istio brings a hundred others, which waft must not.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"

	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/wasm"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: istiofetch REFERENCE")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "istiofetch %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func run(reference string) error {
	logs := log.DefaultOptions()
	logs.OutputPaths = []string{"stderr"}
	if err := log.Configure(logs); err != nil {
		return err
	}
	fetch, manifest, err := wasm.NewImageFetcher(context.Background(), wasm.ImageFetcherOption{}).PrepareFetch(reference)
	if err != nil {
		return err
	}
	module, err := fetch()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{
		"manifest": "sha256:" + manifest, "module": fmt.Sprintf("sha256:%x", sha256.Sum256(module)),
	})
}
