// Package soak runs a world for long: a constant load, one random fault after the
// other, and at the end three questions. Does everything that a host uses have a
// plateau? Was a message lost or settled twice? Is anything left behind when all
// hosts have stopped?
//
// # The world
//
// Three hosts share one queue. Each has a part, because what is killed again and
// again cannot be seen to leak:
//
//   - The calm host and its plugin processes live as long as the run. They meet
//     what happens to the database, and empty reloads.
//   - The battered host lives as long too, but its plugins are killed, frozen and
//     swapped, its configuration changes, its mode is switched, and its way to the
//     database is cut.
//   - The mortal host is killed and restarted. Its numbers are kept and not judged;
//     what it leaves behind, in processes, files and connections, is.
//
// The load has failures, panics and messages that end in the dead letters. Archives
// are kept short by the host's own retention; results and dead letters are consumed
// as an orchestrator would. So everything in the database has a plateau, too.
//
// # Faults
//
// The faults are dealt from a shuffled deck, so that each kind comes up, with a
// quiet time after each. A seed decides the order and the quiet times. A fault that
// does not have its effect, and a backlog that is not worked off after it, fail the
// run.
package soak
