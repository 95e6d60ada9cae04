// Command example is an application with feature flags, as small as one can be: a shop whose checkout has an old and a new form. docs/flags.md rolls its flags out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/waft-project/waft/client"
)

// flags are the collection that the shop takes. A message of your own does as well as one of protobuf's.
const flags = client.Collection[*wrapperspb.BoolValue]("flags")

// checkoutV2 is the flag for the new form.
const checkoutV2 = "checkout-v2"

// known are the flags that this version of the shop has.
var known = []string{checkoutV2, "gift-cards"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	node := flag.String("node", "", "this shop's id")
	server := flag.String("server", "localhost:7070", "the distributor")
	state := flag.String("state", "", "the folder for last-known-good")
	listen := flag.String("listen", "localhost:8080", "where the shop is open")
	trial := flag.Duration("trial", client.DefaultTrial, "how long a release is on trial")
	flag.Parse()

	c, err := client.Start(ctx, client.Config{
		Node: *node, Labels: map[string]string{"app": "shop"}, Version: "1.0",
		Servers: []string{*server}, Insecure: true, // in production: TLS, by client.LoadTLS
		StateDir: *state, Collections: []client.Subscription{flags}, Accept: accept, Trial: *trial,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()

	shop := &http.Server{Addr: *listen, ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		// One snapshot for the whole request: it does not change while the request is served.
		now := c.Snapshot()
		if on, ok := flags.Get(now, checkoutV2); ok && on.GetValue() {
			fmt.Fprintln(w, "the new checkout")
			return
		}
		fmt.Fprintln(w, "the old checkout")
	})}
	context.AfterFunc(ctx, func() { _ = shop.Close() })
	if err := shop.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// accept refuses flags that the shop does not have: whoever set them meant something else, or another version.
func accept(_ context.Context, s *client.Snapshot) error {
	for name := range flags.All(s) {
		if !slices.Contains(known, name) {
			return fmt.Errorf("this shop has no flag %s; it has %q", name, known)
		}
	}
	return nil
}
