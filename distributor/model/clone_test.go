package model

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// fill sets every field to something that is not zero, so that a field that a clone or JSON forgets shows.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte(`{"a":1}`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(7)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(0.5)
	default:
		panic(fmt.Sprintf("fill %s", v.Type()))
	}
}

// shared finds memory that two values have in common.
func shared(path string, a, b reflect.Value) string {
	switch a.Kind() {
	case reflect.Struct:
		if a.Type() == reflect.TypeFor[time.Time]() {
			return "" // immutable
		}
		for i := range a.NumField() {
			if s := shared(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i)); s != "" {
				return s
			}
		}
	case reflect.Pointer, reflect.Map, reflect.Slice:
		if a.Pointer() == b.Pointer() {
			return path
		}
		if a.Kind() == reflect.Pointer {
			return shared(path, a.Elem(), b.Elem())
		}
		if a.Kind() == reflect.Slice {
			for i := range a.Len() {
				if s := shared(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i)); s != "" {
					return s
				}
			}
			return ""
		}
		for _, key := range a.MapKeys() {
			if s := shared(fmt.Sprintf("%s[%s]", path, key), a.MapIndex(key), b.MapIndex(key)); s != "" {
				return s
			}
		}
	}
	return ""
}

func checkClone[T interface{ Clone() T }](t *testing.T) {
	t.Run(reflect.TypeFor[T]().Name(), func(t *testing.T) {
		var v, zero T
		fill(reflect.ValueOf(&v).Elem())
		clone := v.Clone()
		if !reflect.DeepEqual(v, clone) {
			t.Errorf("the clone differs:\n%+v\n%+v", v, clone)
		}
		if path := shared("", reflect.ValueOf(v), reflect.ValueOf(clone)); path != "" {
			t.Errorf("the clone shares %s", path)
		}
		if !reflect.DeepEqual(zero, zero.Clone()) {
			t.Error("the clone of the zero value is not the zero value")
		}
	})
}

func TestClone(t *testing.T) {
	checkClone[Rollout](t)
	checkClone[RolloutSpec](t)
	checkClone[Release](t)
	checkClone[FilterSpec](t)
	checkClone[Node](t)
	checkClone[LedgerEntry](t)
	checkClone[Chain](t)
	checkClone[ResourceSpec](t)
	checkClone[CollectionSpec](t)
}

// dropUnstored empties the fields that are not stored, and say so.
func dropUnstored(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("json") == "-" {
			v.Field(i).SetZero()
		}
	}
}

func checkJSON[T any](t *testing.T) {
	t.Run(reflect.TypeFor[T]().Name(), func(t *testing.T) {
		var v, zero, got, gotZero T
		fill(reflect.ValueOf(&v).Elem())
		for _, pair := range []struct{ in, out *T }{{&v, &got}, {&zero, &gotZero}} {
			data, err := json.Marshal(pair.in)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(data, pair.out); err != nil {
				t.Fatal(err)
			}
			dropUnstored(reflect.ValueOf(pair.in).Elem())
			if !reflect.DeepEqual(*pair.in, *pair.out) {
				t.Errorf("%s\nreads back as %+v\nwant %+v", data, *pair.out, *pair.in)
			}
		}
	})
}

func TestJSONRoundTrip(t *testing.T) {
	checkJSON[Rollout](t)
	checkJSON[Release](t)
	checkJSON[Node](t)
	checkJSON[Chain](t)
	checkJSON[Statistics](t)
	checkJSON[AuditEntry](t)
	checkJSON[StoredResource](t)
	checkJSON[CollectionSpec](t)
}
