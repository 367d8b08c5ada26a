// Package pgmq is the queues.Broker on PostgreSQL. It keeps pgmq's contract
// (schema pgmq, tables q_<name> and a_<name>) and talks to the tables in SQL of
// its own, because pgmq's functions neither fence nor settle in batches.
//
// The life of a message, one statement each: Claim leases visible messages in
// the order in which they became visible; Extend prolongs the leases; Settle
// ends them, together with whatever the outcome sends.
//
// # Invariants
//
//   - read_ct is the lease's epoch. A claim adds one, and so does every
//     give-back. Whatever changes a leased row names the epoch it was leased
//     with.
//   - The clock is the database's. No statement takes the host's time.
//   - Columns are always named: their order differs between versions of pgmq
//     and between new and upgraded tables. What a table has is read from the
//     catalog, once, and again when a statement finds it changed.
//   - A member that the database refuses fails alone.
//   - Claims, settlements and heartbeats have connections of their own, so that
//     none of them waits for another. LISTEN has one more, and so has a Pass.
//   - Nothing is deleted that is not settled, but by a Pass that somebody asked
//     for.
//   - A transaction pooler may stand between. It is noticed, statements are then
//     not prepared, and nothing is left behind in a session. Only LISTEN needs a
//     direct connection: through the pooler it fails and says why.
package pgmq
