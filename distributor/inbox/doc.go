// Package inbox has the handler of a stream of gRPC react to the client's requests, and to whatever else concerns it, without a goroutine that waits for the latter.
//
// A handler that waits for more than requests mostly has a goroutine beside it, which receives and hands over by a channel: two goroutines a stream, each with a
// stack, and both are woken for each request. An Inbox has one. It receives, and reacts to a request itself; what else there is (news) is looked at by a Crew,
// a few goroutines that go from stream to stream. Never more than one of them is at a stream, so that what a handler has is touched by one goroutine at a time.
//
//	inbox.go  the requests and the news of one stream
//	crew.go   who looks at news
//	busy.go   whether processors are what is lacking
//
// A stream whose handler is to end while it receives must let itself be woken (Waker; those of distributor/port do). Streams of other servers have a goroutine to
// receive, behind the same Inbox.
//
// The package imports gRPC, and nothing of the project.
package inbox
