package sdk

import "testing"

func TestStreamTable(t *testing.T) {
	t.Parallel()
	var table streamTable
	streams := map[uint32]*Stream{}
	// Two ids for each of a few places, and one place with many.
	for _, id := range []uint32{1, 2, 1 + directStreams, 3, 2 + directStreams, 1 + 2*directStreams, 1 << 31, 1<<32 - 1} {
		s := &Stream{standing: standing{id: id}}
		streams[id] = s
		table.put(s)
	}
	look := func() {
		t.Helper()
		if table.open != len(streams) {
			t.Errorf("%d streams are open, want %d", table.open, len(streams))
		}
		for _, id := range []uint32{0, 1, 2, 3, 4, directStreams, 1 + directStreams, 2 + directStreams, 1 + 2*directStreams, 1 << 31, 1<<32 - 1} {
			if got := table.get(id); got != streams[id] {
				t.Errorf("stream %d is %p, want %p", id, got, streams[id])
			}
		}
	}
	look()
	for _, id := range []uint32{2, 1 + directStreams} { // one in the array, one in the map
		streams[id] = &Stream{standing: standing{id: id}}
		table.put(streams[id])
		look()
	}
	for id, s := range streams {
		table.remove(s)
		delete(streams, id)
		look()
	}
	if len(table.others) > 0 {
		t.Errorf("the map still holds %v", table.others)
	}
}
