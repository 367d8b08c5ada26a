// Package processor is the command processor: it turns hints of work into
// claimed messages, claimed messages into running steps, and outcomes into
// settlements.
//
// Each namespace has a lane. Whatever finds work (a notification, a poll, a
// freed slot, a due timer, a reconnect) only wakes the lane, and only the lane
// claims. That one claim path is why a message that is found twice is run once.
//
// A message goes through a lane like this:
//
//	wake → reserve slots → claim → resolve the handler → dispatch
//	                                                        │ plugin
//	        settled ← settle in batches ← decide ← outcome ─┘
//
// # Invariants
//
//   - Reserve, then claim: a message is claimed only into a reserved slot, or a
//     prefetch place that the pace of the handlers has earned, and only while the
//     namespace's plugin is ready. Surplus slots go back right after the claim.
//   - An entry lives from its claim until its settlement is acknowledged, and
//     its lease is extended all that time. A redelivery of a message that has an
//     entry is adopted, not run again.
//   - Every step that was dispatched comes back through the sink exactly once,
//     and every outcome becomes exactly one settlement.
//   - Only failures spend the failure budget. Drains, lost leases, snoozes and
//     plugins that were not ready cost nothing; a delivery that ended without
//     any outcome counts towards max_deliveries.
//   - Nobody is convicted of a crash who was not alone with the process. All that
//     were in flight become suspects, which costs them nothing, and run apart from
//     all others, in groups that shrink with every crash.
//   - Namespaces and limits change while the processor runs ([Processor.Apply]),
//     and nothing that runs is interrupted by it. A policy decides about what
//     comes back while it is in force. A lane whose namespace is gone finishes as
//     in a drain and leaves nothing behind.
//   - Nothing in here blocks on a plugin or on another namespace.
package processor
