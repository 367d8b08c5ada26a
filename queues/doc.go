// Package queues is the vocabulary of message queues with leases: messages,
// leases, settlements and events, the Broker that a store implements, and the
// two sources of work, Listener and FallbackPoller. It knows no SQL; the
// PostgreSQL broker is in queues/pgmq.
//
// # Invariants
//
//   - A lease is fenced by its epoch, and an epoch only ever grows.
//   - A notification is a hint. Listener and FallbackPoller emit events, which
//     wake whoever claims; they never claim.
//   - Bookkeeping is written as absolute values, so writing it twice is
//     harmless.
package queues
