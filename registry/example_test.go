package registry_test

import (
	"context"
	"fmt"

	"github.com/waft-project/waft/registry"
)

func ExampleParseReference() {
	ref, err := registry.ParseReference("localhost:7071/filters/authz:1.2.0")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ref.Registry, ref.Repository, ref.Tag)
	_, err = registry.ParseReference("filters/authz:1.2.0")
	fmt.Println(err)
	// Output:
	// localhost:7071 filters/authz 1.2.0
	// reference "filters/authz:1.2.0": invalid reference: "filters" is not a registry host: it has neither a dot nor a port; put the registry's host before it: docker.io/filters/authz:1.2.0, or filters:443/… if that is the host
}

// Publish a module and get it back, verified, as a file.
func ExampleClient() {
	publish := func(ctx context.Context, cacheDir, modulePath string) error {
		cache, err := registry.OpenCache(cacheDir)
		if err != nil {
			return err
		}
		client, err := registry.NewClient(registry.Config{Cache: cache, PlainHTTP: []string{"localhost:7071"}})
		if err != nil {
			return err
		}
		ref, err := registry.ParseReference("localhost:7071/filters/authz:1.2.0")
		if err != nil {
			return err
		}
		module, file, err := registry.OpenModule(modulePath)
		if err != nil {
			return err
		}
		defer file.Close()
		if _, err := client.Push(ctx, ref, module, nil); err != nil {
			return err
		}
		artifact, path, err := client.Pull(ctx, ref, nil)
		if err != nil {
			return err
		}
		fmt.Println(artifact.Digest, artifact.Module.Digest, path)
		return nil
	}
	_ = publish
}
