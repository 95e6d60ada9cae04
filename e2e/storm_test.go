package e2e

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	"github.com/waft-project/waft/distributor/model"
)

// stormVariable tells the test binary, started again as a child, to be a whole fleet that connects at once.
const stormVariable = "WAFT_E2E_STORM"

// storm is what that child is told.
type storm struct {
	Address string
	TLS     api.ClientTLS
	Nodes   int
}

// runStorm connects all nodes at once, each by a connection of its own, says how many are connected as that changes, and ends with its standard input.
func runStorm(text string) error {
	var s storm
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	cfg, err := s.TLS.Config()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	connected := make(chan int, s.Nodes)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for i := range s.Nodes {
		conn, err := grpc.NewClient(s.Address, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
		if err != nil {
			return err
		}
		sink, err := mcp.NewSink(mcp.SinkConfig{
			Conn: conn, Node: fmt.Sprint("storm-", i), Labels: map[string]string{"env": "storm"}, Collections: []string{model.CollectionFilters, model.CollectionChains},
			Apply: func(context.Context, mcp.Update) error { return nil }, MaxBackoff: 5 * time.Second,
			OnState: func(s mcp.SinkState) {
				if s.Connected {
					connected <- 1
				} else if s.RetryIn > 0 && s.Err != nil {
					connected <- 0
				}
			},
		})
		if err != nil {
			return err
		}
		running.Go(func() { _ = sink.Run(ctx); _ = conn.Close() })
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = io.Copy(io.Discard, os.Stdin) }()
	for up, again := 0, 0; ; {
		select {
		case n := <-connected:
			if up += n; n == 0 {
				again++
			}
			if up >= s.Nodes {
				fmt.Println(up, again)
			}
		case <-ended:
			return nil
		}
	}
}

// ownCertificate writes a certificate, and its key, that vouches for itself, as a server on this machine and as a client.
func ownCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fleet"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// smallModule is a module that Envoy would take, and does nothing, with a custom section of its own.
func smallModule(t *testing.T, text string) []byte {
	t.Helper()
	wasm, err := hex.DecodeString("0061736d01000000010e0360000060017f017f60027f7f0003050400000102050401010110075e041770726f78795f6162695f76657273696f6e5f305f325f3100000b5f696e697469616c697a6500011870726f78795f6f6e5f6d656d6f72795f616c6c6f6361746500021770726f78795f6f6e5f636f6e746578745f63726561746500030a0f0402000b02000b040041000b02000b")
	if err != nil {
		t.Fatal(err)
	}
	return append(append(wasm, 0, byte(len(text)+2), 1, 'x'), text...)
}

// peakMemory is the most that a process has had in memory, in MB.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(string(text))
	if found == nil {
		t.Fatalf("no VmHWM in %s", text)
	}
	kb, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return kb >> 10
}

// A fleet that comes back at once does not knock over a distributor that has little CPU: what is too much waits for its turn or is refused, nodes that are connected are
// served on, calls are answered, memory is bounded, and in the end all are connected.
func TestReconnectStorm(t *testing.T) {
	const (
		nodes = 2000
		// mostMemory is far above what so many connections take, and far below what they would with nothing bounded and everything queued; in MB.
		mostMemory = 700
		callLimit  = 10 * time.Second
	)
	cert, key := ownCertificate(t)
	addresses := filepath.Join(t.TempDir(), "addresses")
	command := exec.Command(waftBinary, "serve", "--data", filepath.Join(t.TempDir(), "data"), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0",
		"--tls-cert", cert, "--tls-key", key, "--client-ca", cert, "--addresses-file", addresses, "--log-level", "warn")
	command.Env = append(os.Environ(), "GOMAXPROCS=1")
	serve := spawn(t, command, "serve")
	var bound struct{ GRPC, HTTP string }
	wait(t, "serve serves", time.Minute, func() bool {
		text, err := os.ReadFile(addresses)
		return err == nil && json.Unmarshal(text, &bound) == nil
	})
	mine := api.ClientTLS{CA: cert, Cert: cert, Key: key}
	calm := startFollowerBy(t, api.ClientConfig{Address: bound.GRPC, TLS: mine, Actor: "calm"}, "calm", "calm")
	client, err := api.Dial(api.ClientConfig{Address: bound.GRPC, TLS: mine, Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	release := func(name string) string {
		t.Helper()
		created, err := client.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Reason: "test", Release: &waftv1.Release{
			Metadata: &waftv1.ReleaseMetadata{Name: name},
			Spec:     &waftv1.ReleaseSpec{Filters: []*waftv1.FilterSpec{{Name: name, Inline: &waftv1.InlineModule{Wasm: smallModule(t, name)}}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return name + "@" + created.GetStatus().GetHash()
	}
	all := &waftv1.Wave{Percent: 100}
	beginRollout(t, client, "before", release("before"), "calm", all)
	ended(t, client, "before")
	quiet := peakMemory(t, serve.Process.Pid)

	told, err := json.Marshal(storm{Address: bound.GRPC, TLS: mine, Nodes: nodes})
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), stormVariable+"="+string(told))
	input, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said lockedBuffer
	child.Stderr = &said
	began := time.Now()
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = input.Close()
		if err := child.Wait(); err != nil {
			t.Errorf("the fleet: %v: %s", err, said.tail())
		}
	}()
	done := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(output).ReadString('\n')
		done <- strings.TrimSpace(line)
	}()

	// While they come: calls, and deliveries to the node that was there before.
	var slowest time.Duration
	over := ""
	for i := 0; over == ""; i++ {
		name := fmt.Sprint("during-", i)
		asked := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), callLimit)
		_, err := client.Nodes.GetNode(ctx, &waftv1.GetNodeRequest{Id: "calm"})
		cancel()
		if err != nil {
			t.Fatalf("a call, %v after the fleet came: %v", time.Since(began), err)
		}
		made := release(name)
		beginRollout(t, client, name, made, "calm", all)
		wait(t, name+" is delivered to the node that was there", callLimit, func() bool { return !calm.has(made).IsZero() })
		ended(t, client, name)
		slowest = max(slowest, time.Since(asked))
		select {
		case over = <-done:
		case <-time.After(100 * time.Millisecond):
		}
		if time.Since(began) > 2*time.Minute {
			t.Fatal("they are not all connected after two minutes")
		}
	}
	took := time.Since(began)
	peak := peakMemory(t, serve.Process.Pid)
	t.Logf("%d nodes connected within %v (connected, attempts that failed: %s); a call with a rollout took %v at most; memory %d MB, %d MB before", nodes, took, over, slowest, peak, quiet)
	if peak > mostMemory {
		t.Errorf("the distributor has used %d MB; %d before", peak, quiet)
	}
	cfg, err := mine.Config()
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}
	answer, err := web.Get("https://" + bound.HTTP + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	metrics, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`waft_(refused_arrivals_total{port="grpc",stage="(handshake|stream)"}|queued_arrivals_total) [1-9]`).Match(metrics) {
		t.Error("nobody was refused and nobody had to wait: it was no storm, or nothing is bounded")
	}
}
