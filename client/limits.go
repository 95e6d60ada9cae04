package client

import (
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// What a Config means where it does not say.
const (
	// DefaultTrial is how long an application must go on with a release before it is last-known-good.
	DefaultTrial = 10 * time.Second
	// DefaultAcceptTimeout is how long Config.Accept may take.
	DefaultAcceptTimeout = 30 * time.Second
)

const (
	// maxResources is how many resources one collection, or a chain, may have.
	maxResources = 2 * model.MaxResources
	// maxBytes bounds the resources that are held at a time, all collections together. It is more than a release may have, in whatever form.
	maxBytes = 4 * model.MaxReleaseResources
	// maxFileBytes is how large a file of the state folder may be when it is read.
	maxFileBytes = 2 * maxBytes
	// maxReason bounds what is said of a rejection, in bytes.
	maxReason = 2048

	// A stream that was lost is opened again after retryMin, doubling to retryMax, with jitter, for ever. A rollout waits for nodes after a restart of the
	// distributor, so it is short.
	retryMin = 200 * time.Millisecond
	retryMax = 5 * time.Second
	// A release that the disk does not take is tried again after storeRetryMin, doubling to storeRetryMax.
	storeRetryMin = time.Second
	storeRetryMax = 30 * time.Second
)
