package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/api"
)

// serverVariable is the environment variable that names the distributor where --server does not.
const serverVariable = "WAFT_SERVER"

// defaultServer is where `waft serve` listens when it is not told otherwise.
const defaultServer = "127.0.0.1:7070"

// serverFlags say which distributor a command talks to, how, and as whom.
type serverFlags struct {
	address  string
	insecure bool
	tls      api.ClientTLS
	actor    string
}

func (s *serverFlags) flags(cmd *cobra.Command) {
	address := os.Getenv(serverVariable)
	if address == "" {
		address = defaultServer
	}
	f := cmd.Flags()
	f.StringVar(&s.address, "server", address, "the distributor's gRPC address; $"+serverVariable+" sets the default")
	f.BoolVar(&s.insecure, "insecure", false, "speak without TLS")
	f.StringVar(&s.tls.CA, "ca", "", "PEM file of the authorities that may vouch for the distributor (default: the system's)")
	f.StringVar(&s.tls.Cert, "cert", "", "PEM file of this client's certificate")
	f.StringVar(&s.tls.Key, "key", "", "PEM file of its key")
	f.StringVar(&s.actor, "actor", defaultActor(), "who makes the change, for the audit log")
}

// defaultActor is who runs the command.
func defaultActor() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}

// call connects, runs do, and disconnects.
func (s *serverFlags) call(cmd *cobra.Command, do func(context.Context, *api.Client) error) error {
	c, err := api.Dial(api.ClientConfig{Address: s.address, Insecure: s.insecure, TLS: s.tls, Actor: s.actor})
	if err != nil {
		return err
	}
	defer c.Close()
	return do(cmd.Context(), c)
}

func fileFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "file", "f", "", "the document, YAML or JSON; - for standard input")
	_ = cmd.MarkFlagRequired("file")
}

func reasonFlag(cmd *cobra.Command, reason *string) {
	cmd.Flags().StringVar(reason, "reason", "", "why, for the audit log")
}

// readDocument reads a document of the kind that into is.
func readDocument(cmd *cobra.Command, file string, into proto.Message) error {
	text, err := readInput(cmd, file)
	if err != nil {
		return err
	}
	message, err := api.DecodeDocument(text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	want, got := into.ProtoReflect().Descriptor(), message.ProtoReflect().Descriptor()
	if want.FullName() != got.FullName() {
		return fmt.Errorf("%s: it is of kind %s; `%s` takes a %s", file, got.Name(), cmd.CommandPath(), want.Name())
	}
	proto.Merge(into, message)
	return nil
}

func readInput(cmd *cobra.Command, file string) ([]byte, error) {
	input := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		input = f
	}
	text, err := io.ReadAll(io.LimitReader(input, api.MaxDocumentBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(text) > api.MaxDocumentBytes {
		return nil, errors.New(file + ": larger than a document may be")
	}
	return text, nil
}
