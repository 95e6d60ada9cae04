package envoy

import (
	"fmt"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	statslogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// DeniedStat counts the requests that the connection manager with the slot answered 401 or 403, where
// Number.CountsDenied says so.
const DeniedStat = "waft.denied"

// RequestsStat counts all of them, where a connection manager that is not from a bootstrap of this package counts DeniedStat: a counter that has
// counted nothing does not exist, so DeniedStat alone does not tell whether it would. Such a bootstrap counts them by cohort (CohortRequestsStat).
const RequestsStat = "waft.requests"

// Statistics of the requests of the connection manager with the slot, apart for those of a cohort and for the others, where Number.CountsDenied says so:
// those that were answered, those answered 5xx, those answered 401 or 403, those that are not answered (StuckTime), and a histogram of how long all took, in
// milliseconds. Each is the name before CohortTag and CohortIn, or CohortTag alone.
const (
	CohortRequestsStat = RequestsStat
	CohortErrorsStat   = "waft.errors"
	CohortDeniedStat   = DeniedStat
	CohortStuckStat    = "waft.stuck"
	CohortTimeStat     = "waft.time"
	CohortTag          = ".cohort."
	CohortIn           = cohortIn
)

// StuckTime is how long a request waits for its answer until CohortStuckStat counts it, once, whether or not an answer comes later. It also counts one
// that got none, since its client went away or Envoy ended it (stream idle timeout), before that time.
const StuckTime = 5 * time.Second

// stuckSlack is how much earlier than StuckTime Envoy's clock may say it is when the timer for it runs out.
const stuckSlack = 100 * time.Millisecond

// logOptions have Envoy ask the access logs about a request every StuckTime, too, and not only when it ends.
func logOptions() *hcmv3.HttpConnectionManager_HcmAccessLogOptions {
	return &hcmv3.HttpConnectionManager_HcmAccessLogOptions{AccessLogFlushInterval: durationpb.New(StuckTime)}
}

// counts are access logs that count and write nothing.
func counts() ([]*accesslogv3.AccessLog, error) {
	denied, err := countLog(all(atEnd(), answeredDenied()), DeniedStat)
	if err != nil {
		return nil, err
	}
	cohort, err := countCohort()
	return append([]*accesslogv3.AccessLog{denied}, cohort...), err
}

// countCohort are those that tell the requests of a cohort from the others.
func countCohort() ([]*accesslogv3.AccessLog, error) {
	var logs []*accesslogv3.AccessLog
	for _, of := range []struct {
		stat   string
		filter *accesslogv3.AccessLogFilter
	}{
		{CohortRequestsStat, all(atEnd(), answered(accesslogv3.ComparisonFilter_GE, 1))},
		{CohortErrorsStat, all(atEnd(), answered(accesslogv3.ComparisonFilter_GE, 500))},
		{CohortDeniedStat, all(atEnd(), answeredDenied())},
		{CohortStuckStat, stuck()},
	} {
		log, err := countLog(of.filter, of.stat, byCohort())
		if err != nil {
			return nil, err
		}
		logs = append(logs, log)
	}
	took, err := statsLog(atEnd(), &statslogv3.Config{Histograms: []*statslogv3.Config_Histogram{{
		Stat: stat(CohortTimeStat, byCohort()), Unit: statslogv3.Config_Histogram_Milliseconds, ValueFormat: "%DURATION%",
	}}})
	return append(logs, took), err
}

// byCohort is the tag that says on which side of a cohort a request was.
func byCohort() *statslogv3.Config_Tag {
	return &statslogv3.Config_Tag{Name: "cohort", ValueFormat: "%FILTER_STATE(" + cohortState + ":PLAIN)%"}
}

// statsScope stands before the name of each statistic of statsLog.
const statsScope = "waft"

func stat(name string, tags ...*statslogv3.Config_Tag) *statslogv3.Config_Stat {
	return &statslogv3.Config_Stat{Name: name[len(statsScope)+1:], Tags: tags}
}

// countLog is an access log that counts the requests that a filter lets through, and writes nothing.
func countLog(filter *accesslogv3.AccessLogFilter, name string, tags ...*statslogv3.Config_Tag) (*accesslogv3.AccessLog, error) {
	return statsLog(filter, &statslogv3.Config{Counters: []*statslogv3.Config_Counter{{Stat: stat(name, tags...), ValueFixed: wrapperspb.UInt64(1)}}})
}

func statsLog(filter *accesslogv3.AccessLogFilter, config *statslogv3.Config) (*accesslogv3.AccessLog, error) {
	config.StatsScope = &typev3.Scope{Prefix: statsScope}
	packed, err := anypb.New(config)
	if err != nil {
		return nil, fmt.Errorf("render the access log: %w", err)
	}
	return &accesslogv3.AccessLog{Name: "envoy.access_loggers.stats", Filter: filter, ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: packed}}, nil
}

// all lets through what each of the filters does.
func all(filters ...*accesslogv3.AccessLogFilter) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{AndFilter: &accesslogv3.AndFilter{Filters: filters}}}
}

// some lets through what one of the filters does.
func some(filters ...*accesslogv3.AccessLogFilter) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_OrFilter{OrFilter: &accesslogv3.OrFilter{Filters: filters}}}
}

// atEnd lets through requests when they end, and not those that logOptions has looked at meanwhile.
func atEnd() *accesslogv3.AccessLogFilter { return logged(accesslogdatav3.AccessLogType_DownstreamEnd) }

func logged(when accesslogdatav3.AccessLogType) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_LogTypeFilter{
		LogTypeFilter: &accesslogv3.LogTypeFilter{Types: []accesslogdatav3.AccessLogType{when}},
	}}
}

// stuck lets through each request that is not answered, once: at StuckTime, or at its end where that comes first. What is logged twice StuckTime and later
// was let through before.
func stuck() *accesslogv3.AccessLogFilter {
	waits := all(logged(accesslogdatav3.AccessLogType_DownstreamPeriodic), unanswered(),
		took(accesslogv3.ComparisonFilter_GE, StuckTime-stuckSlack), took(accesslogv3.ComparisonFilter_LE, 2*StuckTime-2*stuckSlack))
	ended := all(atEnd(), took(accesslogv3.ComparisonFilter_LE, StuckTime-stuckSlack), some(unanswered(), idled()))
	return some(waits, ended)
}

// unanswered lets through the requests for which there is no status yet, or never was one.
func unanswered() *accesslogv3.AccessLogFilter { return answered(accesslogv3.ComparisonFilter_EQ, 0) }

// idled lets through the requests that Envoy ended since nothing moved.
func idled() *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: []string{"SI"}}}}
}

// answeredDenied lets through the requests that were answered 401 or 403.
func answeredDenied() *accesslogv3.AccessLogFilter {
	equal := accesslogv3.ComparisonFilter_EQ
	return some(answered(equal, 401), answered(equal, 403))
}

func answered(op accesslogv3.ComparisonFilter_Op, status uint32) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{
		StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: compared(op, status, fmt.Sprintf("waft.answered_%d", status))},
	}}
}

// took lets through the requests that have lasted for so long up to now.
func took(op accesslogv3.ComparisonFilter_Op, duration time.Duration) *accesslogv3.AccessLogFilter {
	ms := uint32(duration.Milliseconds())
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_DurationFilter{
		DurationFilter: &accesslogv3.DurationFilter{Comparison: compared(op, ms, fmt.Sprintf("waft.took_%d", ms))},
	}}
}

// compared: Envoy wants a runtime key, with which the value could be overridden; nobody does.
func compared(op accesslogv3.ComparisonFilter_Op, value uint32, key string) *accesslogv3.ComparisonFilter {
	return &accesslogv3.ComparisonFilter{Op: op, Value: &corev3.RuntimeUInt32{DefaultValue: value, RuntimeKey: key}}
}
