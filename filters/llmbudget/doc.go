// Command llmbudget is a filter that limits how many tokens of language models each key may use in a time, for services that speak OpenAI's
// HTTP API (chat completions, completions, embeddings, responses), streams included.
//
// Flow: the request's rule names a budget ([Config]); what its key has used in this window decides whether the request may pass (filter.go). The
// response is read on its way, and not held: usage.go knows the forms in which a service says how many tokens it counted, sse.go the
// events of a stream, reader.go puts them together and estimates where a service says nothing. When the stream is over, whatever
// its end was, the tokens are added to what the key has used (package keytable).
//
// Invariants: memory per stream is bounded, whatever a service sends. Bodies are not changed. Keys never stand in logs, metrics or the
// shared data; there they are hashes.
package main
