// Package eventsystem is the contract of an event-driven system, the pieces to
// build one from, and the one that stephost runs on: Worker.
//
// # The contract
//
// A System finds events in one or two ways, by listening and by polling, and
// acts on them through whatever it was built with. Its Mode says which of the
// two run. It measures itself (Recorder makes Statistics), judges itself
// (Assess makes Health) and tells whoever subscribed (Broadcaster sends
// Notifications). The example of this package builds a system of another kind
// on the same pieces.
//
// # The worker event system
//
// Worker runs a queues.Listener and a queues.FallbackPoller and hands the
// events of both to a Commander, which wakes the lane of the queue. Nothing is
// claimed here: events are hints, so two of the same are harmless and a mode
// in which both sources run yields no duplicates.
//
//	PollingOnly      the poller
//	Hybrid           the listener and the poller
//	EventDrivenOnly  the listener, and a poller at the slow pace of the safety
//	                 sweep, because a notification may get lost
//
// # Invariants
//
//   - Every mode reaches every message without trusting a notification: a
//     listener sweeps on each connect, and both pollers come early for a message
//     that becomes due.
//   - A mode switch starts what the new mode needs and waits until it works
//     before it stops anything; a failure leaves the old mode in force. What a
//     source had found when it was stopped is still handed over.
//   - Start does not wait for a database. Sources that cannot reach it keep
//     trying, and Health says so.
//   - A slow Commander or subscriber holds up no source: what waits is merged or,
//     for subscribers, counted as lost.
//   - What is reported was measured.
package eventsystem
