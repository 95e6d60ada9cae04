package service

import (
	"fmt"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// A page of collections is cut when it has the bytes that a page may have, and no more are read than it takes to find that out; all pages together are all there is.
func TestPageOfCollectionsIsBounded(t *testing.T) {
	large := func(i int) model.LayerCollection {
		return model.LayerCollection{Layer: "global", Name: fmt.Sprintf("c%04d", i), Resources: []model.StoredResource{{ResourceSpec: model.ResourceSpec{ResourceBody: model.ResourceBody{Opaque: make([]byte, 1<<20)}}}}}
	}
	small := func(i int) model.LayerCollection {
		return model.LayerCollection{Layer: "global", Name: fmt.Sprintf("c%04d", i), Resources: []model.StoredResource{{}}}
	}
	for name, tc := range map[string]struct {
		n, limit int
		one      func(int) model.LayerCollection
		only     string
		// most is how many bytes may be read for one page, pages how many there are, and reads how many reads there are at most.
		most, pages, reads int
	}{
		"large ones": {40, MaxPageSize, large, "", maxPageBytes + 4*firstStep<<20, 14, 60},
		"small ones": {3000, MaxPageSize, small, "", maxPageBytes, 3, 40},
		"few":        {3, 2, small, "", maxPageBytes, 2, 4},
		"none":       {0, 2, small, "", 0, 1, 1},
		"one of all": {3000, MaxPageSize, small, "c2500", maxPageBytes, 1, 20},
	} {
		t.Run(name, func(t *testing.T) {
			var all []model.LayerCollection
			for i := range tc.n {
				all = append(all, tc.one(i))
			}
			brought, reads := 0, 0
			p := collectionPage{limit: tc.limit, collection: tc.only, read: func(after string, n int) (read []model.LayerCollection, _ error) {
				reads++
				for _, c := range all {
					if collectionKey(c) > after && len(read) < n {
						read = append(read, c)
						brought += collectionBytes(c)
					}
				}
				return read, nil
			}}
			var got []string
			pages := 0
			for after := ""; ; {
				brought = 0
				found, next, err := p.from(after)
				if err != nil {
					t.Fatal(err)
				}
				if pages++; brought > tc.most {
					t.Errorf("for a page %d bytes are read", brought)
				}
				for _, c := range found {
					got = append(got, c.Name)
				}
				if next == "" {
					break
				}
				if after, err = (Page{Token: next}).after(); err != nil {
					t.Fatal(err)
				}
			}
			want := tc.n
			if tc.only != "" {
				want = 1
			}
			if len(got) != want || pages != tc.pages || reads > tc.reads {
				t.Errorf("%d of %d collections on %d pages, in %d reads", len(got), want, pages, reads)
			}
			for i, name := range got {
				if tc.only == "" && name != all[i].Name {
					t.Fatalf("at %d there is %s", i, name)
				}
			}
		})
	}
}
