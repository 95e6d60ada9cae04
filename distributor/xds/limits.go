package xds

import (
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// Limits of what an Envoy may say.
const (
	// MaxNodeIDBytes bounds the id of a node.
	MaxNodeIDBytes = 253
	// MaxLabels bounds how many labels are taken from the node's metadata.
	MaxLabels = 64
	// MaxLabelBytes bounds one label, name and value together.
	MaxLabelBytes = 1024
	// MaxReasonBytes bounds what is kept of the reason of a NACK.
	MaxReasonBytes = 4 << 10
	// MaxNames bounds the names of slots in one request of an Envoy that takes no resources.
	MaxNames = 256
	// MaxResourceNames bounds those of resources, of one type, and the versions of those that it says it holds: those of two chains, while it is between them, and what
	// is not of releases.
	MaxResourceNames = 2*model.MaxResources + 256
	// MaxTakes bounds the names of collections, and of clusters, that it says its bootstrap has.
	MaxTakes = 256
	// MaxVersionBytes bounds one version that Envoy says it holds.
	MaxVersionBytes = 512
	// RequestsPerSecond is how many requests of one node are read in a second, over all its streams, once RequestBurst were, or ResourceRequestBurst of one that takes
	// resources. An Envoy sends one for each type that it asks for, one for each response, and when it starts one for each listener with a route, a secret or an extension
	// of its own: these all at once, and it gives up on each that has no answer in 15 s (initial_fetch_timeout).
	RequestsPerSecond    = 50
	RequestBurst         = 500
	ResourceRequestBurst = MaxResourceNames // for each resource of a release a question and an acknowledgement
	// MaxPushes bounds the messages of statistics of one stream in a second, and MaxPushesAtOnce those at once: a flush may be several. One that sends more
	// is read later.
	MaxPushes       = 20
	MaxPushesAtOnce = 200
)

// How often a chain is offered that Envoy rejects while it may lack a module.
const (
	// fetchSettle is the pause between a module having been read and the next offer: what stands between may have read it, and not Envoy.
	fetchSettle = 200 * time.Millisecond
	// startSettle is that pause where Envoy was asked to fetch modules when it started: an offer before it has all of them ends their fetch.
	startSettle = time.Second
	// askPause is how long an Envoy may take, from the beginning of a stream, to ask for all that it has. It asks at once.
	askPause = 5 * time.Second
	// startPause is how long an Envoy that starts may take to fetch a module when that is not seen. It compiles each before it reads the next.
	startPause = 30 * time.Second
	// fetchKept is for how long a module that was fetched is taken to be in Envoy's code cache, which drops what was not asked for in 24 hours.
	fetchKept = 12 * time.Hour
	// maxRefused is how many rejected versions are remembered of a node.
	maxRefused = 8
	// maxNotices is how many notices of fetches are believed for a step, for each filter of the chain: each module is fetched once, and once more where an
	// offer ended the fetch.
	maxNotices = 2
	// maxAgain is in how many ways a chain is offered that stay the same to those who run it: more than a version is offered in a row, and few, since each is encoded
	// once for all nodes.
	maxAgain = 16
	// maxIdle is how many nodes without a stream are remembered.
	maxIdle = 10_000
)

// blindPauses are those before the offers that follow a rejection while a module is missing and no fetch of it is seen: it failed, goes elsewhere, or the
// Envoy does not say who it is (envoy.NodeHeader). Envoy remembers a failed fetch for 10 s.
var blindPauses = [...]time.Duration{time.Second, 3 * time.Second, 11 * time.Second, 30 * time.Second}

var (
	// fetchDoubts is the pause before the one offer more that a chain gets whose modules have been sent: a slow link may hold megabytes of them.
	fetchDoubts = [...]time.Duration{3 * time.Second}
	// startDoubts are those where Envoy was asked to fetch them when it started. If the offer came too early and ended the fetch, Envoy fetches again on the
	// first offer after it has forgotten that, in 10 s; the last pause is for that fetch to be seen.
	startDoubts = [...]time.Duration{3 * time.Second, 11 * time.Second, 3 * time.Second}
)
