// Package doctor looks for what is wrong with a database that a host works on,
// or is to work on: connection, rights, queues, notifications, a pooler in
// between, what keeps vacuum from cleaning up, and messages that wait in vain.
//
// # Invariants
//
//   - Nothing is changed. What reads runs in read-only transactions with short
//     timeouts for locks and statements, so that a busy host does not notice.
//     Two checks notify: one a channel of its own, the other the channel of each
//     queue, as an insert of no rows does; that leaves the time of the
//     notification in pgmq's throttle table, and a host looks into its queue
//     once more.
//   - No check needs another one to have run, nor more than the right to
//     connect. One that cannot run says why.
//   - Passwords are in no finding.
package doctor
