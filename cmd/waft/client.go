package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/api"
)

// serverVariable is the environment variable that names the distributor where --server does not.
const serverVariable = "WAFT_SERVER"

// These name the files of --ca, --cert and --key where the flags do not, and --insecure is not given.
const (
	caVariable   = "WAFT_CA"
	certVariable = "WAFT_CERT"
	keyVariable  = "WAFT_KEY"
	// tokenVariable names the file of --token-file in the same way.
	tokenVariable = "WAFT_TOKEN_FILE"
)

// defaultServer is where `waft serve` listens when it is not told otherwise.
const defaultServer = "127.0.0.1:7070"

// serverFlags say which distributor a command talks to, how, and as whom.
type serverFlags struct {
	address  string
	insecure bool
	tls      api.ClientTLS
	keyFlag  string
	// tokenFile holds a bearer token. A flag or a variable with the token itself would show it to everybody who may list processes.
	tokenFile string
	actor     string
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
	s.keyFlag = keyFlag
	f := cmd.Flags()
	f.StringVar(&s.address, "server", address, "the distributor's gRPC address; $"+serverVariable+" sets the default")
	f.BoolVar(&s.insecure, "insecure", false, "speak without TLS")
	f.StringVar(&s.tls.CA, "ca", os.Getenv(caVariable), "PEM file of the authorities that may vouch for the distributor; $"+caVariable+" sets the default (else: the system's)")
	f.StringVar(&s.tls.Cert, "cert", os.Getenv(certVariable), "PEM file of this client's certificate; $"+certVariable+" sets the default")
	f.StringVar(&s.tls.Key, keyFlag, os.Getenv(keyVariable), "PEM file of its key; $"+keyVariable+" sets the default")
	f.StringVar(&s.tokenFile, "token-file", os.Getenv(tokenVariable), "file with a bearer token that says who you are; $"+tokenVariable+" sets the default")
	f.StringVar(&s.actor, "actor", defaultActor(), "who makes the change, for the audit log; does not count where the distributor has an access policy")
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
	if s.insecure {
		// What only the environment says gives way; what the command line says besides is a contradiction.
		f := cmd.Flags()
		for flag, file := range map[string]*string{"ca": &s.tls.CA, "cert": &s.tls.Cert, s.keyFlag: &s.tls.Key, "token-file": &s.tokenFile} {
			if !f.Changed(flag) {
				*file = ""
			}
		}
	}
	token, err := readBearer(s.tokenFile)
	if err != nil {
		return err
	}
	c, err := api.Dial(api.ClientConfig{Address: s.address, Insecure: s.insecure, TLS: s.tls, Token: token, Actor: s.actor})
	if err != nil {
		return err
	}
	defer c.Close()
	return do(cmd.Context(), c)
}

// readBearer reads a file with nothing but a bearer token; none where no file is named.
func readBearer(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	const most = 16 << 10
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	unsendable := func(r rune) bool { return r <= ' ' || r >= 0x7f } // in a header
	if token == "" || len(text) > most || strings.ContainsFunc(token, unsendable) {
		return "", fmt.Errorf("--token-file: %s holds something else than one token", file)
	}
	return token, nil
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
	text, err := readInput(cmd, file, api.MaxDocumentBytes)
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

// readInput reads a file, or standard input, and refuses one of more bytes than limit. It stops when the command is
// interrupted, although a read of a terminal or a pipe does not: then the process ends, and the read with it.
func readInput(cmd *cobra.Command, file string, limit int64) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		text, err := readLimited(cmd, file, limit)
		read <- result{text, err}
	}()
	select {
	case r := <-read:
		return r.text, r.err
	case <-cmd.Context().Done():
		return nil, context.Cause(cmd.Context())
	}
}

func readLimited(cmd *cobra.Command, file string, limit int64) ([]byte, error) {
	input := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		input = f
	}
	text, err := io.ReadAll(io.LimitReader(input, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s: larger than %d bytes, the most that it may have; split it or take large values out of it", file, limit)
	}
	return text, nil
}
