package service

import "github.com/waft-project/waft/distributor/model"

const (
	// maxPageBytes is what a page of collections is kept to, by giving fewer than were asked for; one collection may be more.
	maxPageBytes = 4 << 20
	// firstStep is how many collections are read at once to begin with, and maxStep at most: each may be as large as model.MaxReleaseResources, and most have a
	// few hundred bytes.
	firstStep = 4
	maxStep   = 256
	// stepBytes is what one read should bring: more are read at once while there is less.
	stepBytes = 1 << 20
)

// collectionPage reads a page of collections, a few at a time, so that it is never much more in memory than is given.
type collectionPage struct {
	limit int
	// collection is the only one that is wanted, of whatever layer; empty: all.
	collection string
	// read reads so many behind a key.
	read func(after string, n int) ([]model.LayerCollection, error)
}

// from gives the page behind a key, and the token of the next one.
func (p collectionPage) from(after string) (found []model.LayerCollection, next string, err error) {
	total, step := 0, firstStep
	for {
		read, err := p.read(after, step)
		if err != nil {
			return nil, "", err
		}
		brought := 0
		for _, c := range read {
			size := collectionBytes(c)
			brought += size
			if p.collection != "" && c.Name != p.collection {
				continue
			}
			if len(found) == p.limit || len(found) > 0 && total+size > maxPageBytes {
				last := found[len(found)-1]
				return found, afterToken(collectionKey(last)), nil
			}
			found = append(found, c)
			total += size
		}
		if len(read) < step {
			return found, "", nil
		}
		after = collectionKey(read[len(read)-1])
		if brought < stepBytes {
			step = min(2*step, maxStep)
		} else {
			step = max(step/2, 1)
		}
	}
}

// collectionKey is by what the store goes on behind a collection.
func collectionKey(c model.LayerCollection) string { return string(c.Layer) + "\n" + c.Name }

// collectionBytes is about what a collection takes.
func collectionBytes(c model.LayerCollection) int {
	const each = 512 // names, versions, who changed it
	size := each
	for _, r := range c.Resources {
		size += each + len(r.Fields) + len(r.Opaque)
	}
	return size
}
