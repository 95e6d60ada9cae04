package inbox

import "runtime/metrics"

// runnable are the goroutines that wait for a processor.
const runnable = "/sched/goroutines/runnable:goroutines"

// busy says whether one goroutine more would wait for a processor, as others do. It costs a microsecond.
func busy() bool {
	sample := [...]metrics.Sample{{Name: runnable}}
	metrics.Read(sample[:])
	return sample[0].Value.Kind() == metrics.KindUint64 && sample[0].Value.Uint64() > 0
}
