package main

import (
	"context"
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
	s.flagsWith(cmd, "key")
}

// flagsBesideKey are the flags for a command whose --key is that of a signature: the key of the client's certificate is --tls-key there.
func (s *serverFlags) flagsBesideKey(cmd *cobra.Command) {
	s.flagsWith(cmd, "tls-key")
}

func (s *serverFlags) flagsWith(cmd *cobra.Command, keyFlag string) {
	address := os.Getenv(serverVariable)
	if address == "" {
		address = defaultServer
	}
	f := cmd.Flags()
	f.StringVar(&s.address, "server", address, "the distributor's gRPC address; $"+serverVariable+" sets the default")
	f.BoolVar(&s.insecure, "insecure", false, "speak without TLS")
	f.StringVar(&s.tls.CA, "ca", "", "PEM file of the authorities that may vouch for the distributor (default: the system's)")
	f.StringVar(&s.tls.Cert, "cert", "", "PEM file of this client's certificate")
	f.StringVar(&s.tls.Key, keyFlag, "", "PEM file of its key")
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
}

func reasonFlag(cmd *cobra.Command, reason *string) {
	cmd.Flags().StringVar(reason, "reason", "", "why, for the audit log")
}

// readDocument reads a document of the kind that into is.
func readDocument(cmd *cobra.Command, file string, into proto.Message) error {
	if file == "" {
		return usagef("%s: -f FILE is missing; see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
	}
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

// readInput reads a file, or standard input. It stops when the command is interrupted, although a read of a terminal or a
// pipe does not: then the process ends, and the read with it.
func readInput(cmd *cobra.Command, file string) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		text, err := readLimited(cmd, file)
		read <- result{text, err}
	}()
	select {
	case r := <-read:
		return r.text, r.err
	case <-cmd.Context().Done():
		return nil, context.Cause(cmd.Context())
	}
}

func readLimited(cmd *cobra.Command, file string) ([]byte, error) {
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
		return nil, fmt.Errorf("%s: larger than %d bytes, the most that a document may have; split it or take large values out of it", file, api.MaxDocumentBytes)
	}
	return text, nil
}
