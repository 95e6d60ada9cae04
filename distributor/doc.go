// Package distributor is the server that `waft serve` runs: one process with the store, the registry, the service and
// the protocols. It is wiring only: Config says what to run and Run runs it; run.go reads as the list of stages.
//
// What stands in the data folder:
//
//	LOCK       held by the process that uses the folder
//	etcd/      the store's member (package store)
//	tls/       the authority and the certificates of a distributor that was given none (package authority), and its access policy
//	registry/  the embedded registry: the artifacts that were pushed here; where Config.RegistryRetention says so, until nothing needs them (package retention)
//	modules/   verified copies of the modules that releases name, by digest, of the images from other registries that they
//	           came in, what is known of these, and the
//	           signatures beside them
//
// What is served:
//
//	gRPC port  the API (package api), MCP (package mcp), grpc.health.v1, reflection
//	HTTP port  /v1/ REST, /openapi.json, /v2/ the embedded registry, /trust/ the
//	           signatures beside modules and releases, for agents, /metrics, /healthz, /readyz. Of /v2/ are read only: the
//	           modules for agents in /v2/waft/modules/, and images from other registries in /v2/waft/fetched/
//
// Both ports speak TLS unless Config.Insecure says otherwise, and take only clients with a certificate where
// Config.TLS.ClientCA is set. Where there is a Config.Access, each call of either port is asked about first, see package access; the service asks about what
// only it knows. Without one, whoever reaches the ports may change what nodes run.
//
// This package and cmd are the only ones that know concrete implementations of the interfaces that service declares.
package distributor
