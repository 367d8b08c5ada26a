// Package supervisor runs plugin processes: it starts, configures, watches,
// restarts, drains and stops them, and carries steps to them and outcomes back.
//
// # The life of a plugin
//
//	stopped → starting → ready → draining → stopped
//	             ↑  ↓       ↓
//	          backing-off ←─┘ → tripped → starting (one probe)
//
// A [Plugin] is a pool of instances. Each instance has at most one process at
// a time; a start goes through execution, handshake, Describe, Configure, a
// health check and the opening of the streams. A crash or a failed start backs
// off exponentially with jitter. Too many of them within a window trip the
// plugin: it is not ready while tripped, so that its messages stay queued, and
// after the window one instance probes whether a start works again.
//
// A handler that ignores its cancellation costs its process ([Plugin.Abandon]):
// the process is withdrawn, another one takes its place at once, and it is
// killed when its other steps have come back or have had their time. To the
// breaker that is a crash, once for each message; to the other steps it is
// nobody's fault.
//
// Messages that were in flight in a crash run apart from all others
// ([Plugin.Apart]): in a process beside the instances that takes one group of
// them at a time. It is started when somebody asks for a turn, is stopped when
// nobody has for a while, and its crashes count in no breaker, unless different
// messages crash it one after the other and nothing else gets through: that is
// the plugin's own fault, which trips it. Where there must not be a second
// process ([SwapStopFirst]), a group has one of the pool for itself.
//
// Each change of a plugin's state is logged once, with its reason.
//
// # One process
//
// The host starts every process through a shim (package shim), so that none
// outlives it. go-plugin does the handshake, TLS and the connection and
// nothing more: stderr, stdout, exits and kills are handled here, because its
// ways with them let a plugin hang or crash the host. A fresh go-plugin client
// serves each start.
//
// Steps travel on two long-lived streams, one for small bodies and one for
// large ones. Each has a sender, which sends at once when idle and gathers
// while a Send is in flight, and a receiver.
//
// A [Session] is one such process for a caller that speaks the protocol by
// itself and supervises nothing.
//
// # Invariants
//
//   - Every dispatched step comes back through its sink exactly once: as a
//     result, as returned (never sent) or as lost (sent, and the process or
//     its stream ended). Results that arrived before a crash are delivered
//     before anything is lost.
//   - Nothing that a plugin does or fails to do blocks the host: every call
//     has a deadline, stderr and stdout are always read, and log lines are
//     dropped, counted, when the host's log is slower than the plugin.
//   - Stop joins every goroutine, and no process of the plugin's group is left.
//   - Of the host's environment a plugin sees PATH, HOME, TMPDIR and what its
//     spec names, only.
//   - Whatever way a process is started, its isolation comes from [Spec] alone.
package supervisor
