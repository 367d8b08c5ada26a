// Package suite is the frame of `make bench`: what a scenario is, where it runs
// and what it gives back.
//
// A scenario measures one thing, mostly beside something else: contenders take
// turns, on fresh queues of the same server, so that what the machine does
// meanwhile hits all of them. It returns figures; each is a name, a value and a
// unit, with how far it scattered and, where the project has set itself one, a
// bar.
//
// # Invariants
//
//   - One private PostgreSQL serves all scenarios of a run. Its durability is the
//     default: fsync, full_page_writes and synchronous_commit are on. What is set
//     apart from the defaults is in the report.
//   - No step is left out of the work. A scenario counts in the database what was
//     settled and fails when that is not what was sent.
//   - A scenario scales with the form and has a tiny one, which the tests run.
package suite
