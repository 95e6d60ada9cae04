// Package pushed reads the statistics that an Envoy without an agent pushes (envoy.service.metrics.v3.MetricsService), and counts by them what its chain
// has served, as an agent beside it would.
//
// The flow: a Message is what came, undecoded but for the node that it names. An Account is of one node: it takes out of messages the few statistics that
// gates read, joins the messages of one flush, and gives model.Statistics of the chain that the flush was made under.
//
// Invariants:
//   - Which chain a flush is of, the flush says itself: the gauge version of the slot is a hash of what is in it. What was served in the flush in which a
//     chain came into the slot is not counted, since some of it was served before.
//   - Counts only rise, whether Envoy sends counters as totals or as deltas, and over its restarts.
//   - Families that no gate reads are passed over by their length.
//   - What is kept of a node is bounded, whatever it sends.
//   - No I/O, and no clock of its own.
//
// The package imports model, and envoy for names; never service, api or mcp.
package pushed
