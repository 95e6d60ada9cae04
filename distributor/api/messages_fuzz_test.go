package api

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// marshalled is a message as a client sends it.
func marshalled(f *testing.F, m proto.Message) []byte {
	f.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	return raw
}

// refused checks that an error says what is wrong, and where.
func refused(t *testing.T, err error) {
	t.Helper()
	told, ok := errors.AsType[*model.Error](err)
	if !ok || !errors.Is(err, model.ErrInvalid) || told.Object == "" && told.Field == "" || told.Next == "" {
		t.Errorf("%T: %v", err, err)
	}
}

// FuzzReport takes whatever a node may report. What is taken was counted, and is bounded: it goes into the node's row.
func FuzzReport(f *testing.F) {
	for _, r := range []*waftv1.ReportRequest{
		{Report: &waftv1.ReportRequest_Hello{Hello: &waftv1.Hello{Node: "edge-1", Labels: map[string]string{"env": "prod"}, EnvoyVersion: "1.40.0", Application: true, Collections: []string{"b", "a", "a"}}}},
		{Report: &waftv1.ReportRequest_Chain{Chain: &waftv1.ChainReport{Hash: "sha256:ab", State: waftv1.ChainState_SERVING, ServingHash: "sha256:ab", Generation: 7, Secrets: map[string]string{"env/TOKEN": "1"}}}},
		{Report: &waftv1.ReportRequest_Statistics{Statistics: &waftv1.Statistics{
			Hash: "sha256:ab", Requests: 10, Errors: 1, DeniedKnown: true, Health: &waftv1.Health{Latency: []int64{1, 2, 3}, Vms: 2}, Cohort: &waftv1.CohortStatistics{Requests: 3},
			Values: map[string]*waftv1.StatisticValue{"wasmcustom.orders": {Value: 3, Increase: 1}},
		}}},
		{Report: &waftv1.ReportRequest_Statistics{Statistics: &waftv1.Statistics{Errors: -1}}},
	} {
		f.Add(marshalled(f, r))
	}
	many := make([]int64, len(model.Latency{})+2)
	for i := range many {
		many[i] = math.MaxInt64
	}
	f.Add(marshalled(f, &waftv1.ReportRequest{Report: &waftv1.ReportRequest_Statistics{Statistics: &waftv1.Statistics{Health: &waftv1.Health{Latency: many}}}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r waftv1.ReportRequest
		if proto.Unmarshal(raw, &r) != nil {
			return
		}
		if h := r.GetHello(); h != nil {
			hello := helloModel(h)
			if n := len(hello.Takes.Collections); n > len(h.GetCollections()) {
				t.Errorf("%d collections of %d", n, len(h.GetCollections()))
			}
		}
		if c := r.GetChain(); c != nil {
			chain, err := chainReport("edge-1", c)
			switch {
			case err != nil:
				refused(t, err)
			case len(chain.Chain) > service.MaxReportHash || len(chain.Serving) > service.MaxReportHash || len(chain.Secrets) > model.MaxChainSecrets || chain.Chain != "" && chain.State == "":
				t.Errorf("taken: %+v", chain)
			}
		}
		if s := r.GetStatistics(); s != nil {
			st, err := statisticsModel("edge-1", s)
			if err != nil {
				refused(t, err)
				return
			}
			for _, h := range []model.Health{st.Health, st.Cohort.Health} {
				for _, n := range h.Latency {
					if n < 0 || h.Latency.Count() < n {
						t.Errorf("taken: latency %v", h.Latency)
					}
				}
			}
			if st.Requests < 0 || st.Errors < 0 || st.Denied < 0 || st.Seen < 0 || len(st.Values) > model.MaxStatistics {
				t.Errorf("taken: %+v", st)
			}
			for name, v := range st.Values {
				if len(name) > model.MaxStatisticName || math.IsNaN(v.Value) || math.IsInf(v.Increase, 0) {
					t.Errorf("taken: %q %+v", name, v)
				}
			}
		}
	})
}

// FuzzStartRollout takes whatever a client may send as a rollout. Its waves come back as they were understood.
func FuzzStartRollout(f *testing.F) {
	m, err := DecodeDocument([]byte(rolloutYAML))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(marshalled(f, &waftv1.StartRolloutRequest{Rollout: m.(*waftv1.Rollout)}))
	f.Add(marshalled(f, &waftv1.StartRolloutRequest{NoWait: true, Rollout: &waftv1.Rollout{Spec: &waftv1.RolloutSpec{Waves: []*waftv1.Wave{
		{Soak: "1h0m0s", Deadline: "-1ns", Cohort: &waftv1.Cohort{Percent: -1}, Gates: []*waftv1.Gate{{}, {Growth: &waftv1.GrowthGate{MaxMemory: "1048576GiB"}}}},
	}}}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var req waftv1.StartRolloutRequest
		if proto.Unmarshal(raw, &req) != nil {
			return
		}
		draft, err := rolloutDraft(&req)
		if err != nil {
			refused(t, err)
			return
		}
		for i, w := range draft.Waves {
			again, err := waveModel("rollout/a", "spec", waveProto(w))
			if err != nil || !reflect.DeepEqual(again, w) && !hasNaN(w) {
				t.Errorf("wave %d is %+v, and comes back as %+v (%v)", i, w, again, err)
			}
		}
	})
}

// hasNaN says whether a wave has a number that is not equal to itself.
func hasNaN(w model.WaveSpec) bool {
	_, err := json.Marshal(w)
	return err != nil
}

// FuzzCreateRelease takes whatever a client may send as a release. Each configuration is JSON, and no filter is lost.
func FuzzCreateRelease(f *testing.F) {
	m, err := DecodeDocument([]byte(releaseYAML))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(marshalled(f, m))
	f.Add(marshalled(f, &waftv1.Release{Spec: &waftv1.ReleaseSpec{Filters: []*waftv1.FilterSpec{{Phase: 99}}, Overrides: []*waftv1.FilterSpec{{FailurePolicy: -1}}}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r waftv1.Release
		if proto.Unmarshal(raw, &r) != nil {
			return
		}
		draft, err := releaseDraft(&r)
		if err != nil {
			refused(t, err)
			return
		}
		if len(draft.Filters) != len(r.GetSpec().GetFilters()) || len(draft.Overrides) != len(r.GetSpec().GetOverrides()) ||
			len(draft.Resources) != len(r.GetSpec().GetResources()) || len(draft.ResourceOverrides) != len(r.GetSpec().GetResourceOverrides()) {
			t.Errorf("of %v is taken %+v", &r, draft)
		}
		for _, d := range append(draft.Filters, draft.Overrides...) {
			if d.Config != nil && !json.Valid(d.Config) {
				t.Errorf("filter %q has the configuration %q", d.Name, d.Config)
			}
		}
	})
}
