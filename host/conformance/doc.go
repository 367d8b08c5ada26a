// Package conformance checks any executable plugin, in any language, against
// the plugin protocol: it starts the program as a host does, speaks the raw
// protocol to it, and says which clause it keeps and which it breaks.
//
// A [Clause] is one demand of the protocol. A must is what a host relies on; a
// should is what people who run or write the plugin will miss. [Clauses] has
// them all, in the order in which they are checked. A clause that cannot apply
// to a plugin is skipped, with the reason.
//
// # What the kit knows of a plugin
//
// Nothing but what the plugin describes. Its steps are run with the input {},
// or with the samples that the caller gives, and whatever a handler answers is
// fine: a success, a failure and a snooze all conform. So the program runs for
// real, with all that its handlers do. Clauses about steps that run for a while
// (cancellation, drain, concurrency) need a sample that does.
//
// # Invariants
//
//   - Every wait is bounded by Options.Patience, every process is ended and
//     every goroutine joined when [Check] returns.
//   - A clause that finds something wrong does not disturb the next one: it
//     leaves its process behind, and the next starts a new one.
//   - Everything that is received on any stream is examined, whichever clause
//     runs; the clauses about the form of results report what was seen.
package conformance
