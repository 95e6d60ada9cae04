package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/waft-project/waft/client"
)

// An application takes the flags that it is given, and starts with those that it had when no distributor is there.
func Example() {
	const flags = client.Collection[*wrapperspb.BoolValue]("flags")
	dir, err := os.MkdirTemp("", "shop-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	c, err := client.Start(context.Background(), client.Config{
		Node: "shop-1", Labels: map[string]string{"app": "shop"},
		Servers: []string{"localhost:1"}, Insecure: true, // in production: TLS, by LoadTLS
		StateDir: dir, Collections: []client.Subscription{flags},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	on, ok := flags.Get(c.Snapshot(), "checkout-v2")
	fmt.Println(on.GetValue(), ok)
	// Output: false false
}

// A check of the application's own rejects a release: its wave fails, and it is taken back.
func ExampleConfig_accept() {
	const flags = client.Collection[*wrapperspb.BoolValue]("flags")
	cfg := client.Config{
		Node: "shop-1", Collections: []client.Subscription{flags},
		Accept: func(_ context.Context, s *client.Snapshot) error {
			if _, ok := flags.Get(s, "checkout-v2"); !ok {
				return errors.New("the shop cannot do without the flag checkout-v2")
			}
			return nil
		},
	}
	fmt.Println(cfg.Accept(context.Background(), nil))
	// Output: the shop cannot do without the flag checkout-v2
}

// A loop sees the present snapshot, and then each newer one.
func ExampleClient_Snapshots() {
	const flags = client.Collection[*wrapperspb.BoolValue]("flags")
	watch := func(ctx context.Context, c *client.Client) {
		for now := range c.Snapshots(ctx) {
			for name, on := range flags.All(now) {
				fmt.Println(name, on.GetValue())
			}
		}
	}
	_ = watch
}
