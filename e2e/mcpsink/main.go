// Command mcpsink is package mcp's sink as a program, so that sources that are not ours can be tried with it: it dials one, or waits to
// be dialled by one. It prints each update as a line of JSON, and refuses one that has a resource called refuse-me.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/waft-project/waft/distributor/mcp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "mcpsink:", err)
		os.Exit(1)
	}
}

// line is what is printed of an update.
type line struct {
	Collection  string     `json:"collection"`
	Version     string     `json:"version"`
	Incremental bool       `json:"incremental"`
	Resources   []resource `json:"resources"`
	Changed     []string   `json:"changed"`
	Removed     []string   `json:"removed"`
}

type resource struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Type    string `json:"type"`
	Body    []byte `json:"body"`
}

func run(ctx context.Context) error {
	source := flag.String("source", "", "dial the source at this address")
	listen := flag.String("listen", "", "wait here to be dialled by a source; the address is printed first")
	node := flag.String("node", "", "the node's id")
	collections := flag.String("collections", "", "what to ask for, with commas between")
	full := flag.Bool("full", false, "ask for full state")
	flag.Parse()

	out := json.NewEncoder(os.Stdout)
	cfg := mcp.SinkConfig{
		Node: *node, Collections: strings.Split(*collections, ","), FullState: *full,
		Apply: func(_ context.Context, u mcp.Update) error {
			l := line{Collection: u.Collection, Version: u.Version, Incremental: u.Incremental, Changed: u.Changed, Removed: u.Removed}
			for _, r := range u.Resources {
				if r.GetMetadata().GetName() == "refuse-me" {
					return errors.New("it is to be refused")
				}
				l.Resources = append(l.Resources, resource{r.GetMetadata().GetName(), r.GetMetadata().GetVersion(), r.GetBody().GetTypeUrl(), r.GetBody().GetValue()})
			}
			return out.Encode(l)
		},
	}
	if *listen == "" {
		conn, err := grpc.NewClient(*source, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer conn.Close()
		cfg.Conn = conn
		sink, err := mcp.NewSink(cfg)
		if err != nil {
			return err
		}
		return sink.Run(ctx)
	}
	sink, err := mcp.NewSinkServer(cfg)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	server := grpc.NewServer(grpc.MaxRecvMsgSize(mcp.MaxResourcesBytes))
	sink.Register(server)
	context.AfterFunc(ctx, server.Stop)
	return server.Serve(l)
}
