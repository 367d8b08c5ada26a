// Package fleet holds the host's plugins over their generations. A generation
// is one supervisor.Plugin: all processes that were started from one spec. A
// changed program, a changed configuration or an operator's wish makes a new
// generation, which takes the place of the old one.
//
// # How generations follow each other
//
//	Prepare  start the new generations and wait until each is ready
//	Flip     bind the namespaces to them, all at once
//	(then)   the old ones drain and are stopped, in the background
//
// Until the flip the old generations serve. When one of the new ones does not
// come up, all of them are stopped again and nothing has changed; the error
// says why. [Fleet.Swap] does both steps for one plugin; a change of the
// configuration prepares everything that it adds, changes and removes as one
// [Change] and flips once.
//
// A plugin that needs something for itself alone (supervisor.SwapStopFirst) has
// one generation at a time: the old one drains and stops before the new one is
// started, and its messages stay queued meanwhile. When the new one does not
// come up, the old spec is started again, as a generation of its own.
//
// A process that somebody has started under a debugger attaches as a generation
// of its own ([Fleet.Attach]); when it ends, the plugin's own program follows.
//
// # Invariants
//
//   - Namespaces are bound to generations, by whole tables: a lane dispatches to
//     the old or to the new one, and cancels where it has dispatched.
//   - A generation is stopped only after it has drained, or after the steps that
//     it did not finish in time have been called back, or at the end of the host.
//   - One change at a time touches a plugin; another one is refused.
//   - Stop joins everything: no process and no goroutine is left.
package fleet
