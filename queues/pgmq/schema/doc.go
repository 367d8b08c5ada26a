// Package schema installs a schema pgmq of stephost's own: tables, types and
// functions that clients of the pgmq extension (1.10 and newer) work with. It
// was written from pgmq's contract and shares none of its text. It is for
// databases that have no pgmq; one that is there is used as it is.
//
// Where the contract leaves room, it is better suited to a worker host:
//
//   - Reads bind the clock, so that the index on vt can serve them, and return
//     their messages sorted by id.
//   - One insert statement sends one notification, whatever its number of rows.
//     New queues have notifications from the start, with a throttle of 50 ms
//     whose leading edge is immediate, and no producer ever waits for another
//     one's transaction. The throttle survives a crash of the server. Up to 50 ms
//     it is each session's own, and begins with 2.5 ms; a session that meets one
//     that is announcing leaves it to that one for up to twice the throttle since
//     its own last announcement.
//   - Creating queues and enabling notifications is safe from any number of
//     sessions at once, and enabling again does not touch the queue.
//   - Queue names that differ in case alone are one queue.
//
// Partitioned queues, grouped reads and topics are not supported.
//
// # Invariants
//
//   - A schema pgmq without our marker is never touched. The marker is the
//     schema's comment and carries the version.
//   - An installation is one transaction: it is there as a whole or not at all.
//   - Tables are only ever extended; data survives an upgrade.
package schema
