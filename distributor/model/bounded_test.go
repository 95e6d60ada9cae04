package model

import (
	"math"
	"reflect"
	"testing"
)

// counts calls f with each count below v, whatever fields it has.
func counts(v reflect.Value, name string, f func(name string, n reflect.Value)) {
	switch v.Kind() {
	case reflect.Int64:
		f(name, v)
	case reflect.Array:
		for i := range v.Len() {
			counts(v.Index(i), name, f)
		}
	case reflect.Struct:
		if v.Type().PkgPath() != reflect.TypeFor[Statistics]().PkgPath() {
			return // a time
		}
		for i := range v.NumField() {
			counts(v.Field(i), name+"."+v.Type().Field(i).Name, f)
		}
	}
}

// Each count that a node can report is bounded, and one that any Envoy has stays as it is.
func TestBounded(t *testing.T) {
	for in, want := range map[int64]int64{math.MaxInt64: MaxCount, math.MinInt64: 0, 7: 7, MaxCount: MaxCount} {
		var s Statistics
		counts(reflect.ValueOf(&s).Elem(), "Statistics", func(_ string, n reflect.Value) { n.SetInt(in) })
		s = s.Bounded()
		seen := 0
		counts(reflect.ValueOf(&s).Elem(), "Statistics", func(name string, n reflect.Value) {
			if seen++; n.Int() != want {
				t.Errorf("%s is %d, and becomes %d; want %d", name, in, n.Int(), want)
			}
		})
		if least := 2 * (4 + 10 + len(Latency{})); seen < least {
			t.Errorf("%d counts were looked at; there are %d or more", seen, least)
		}
	}
}
