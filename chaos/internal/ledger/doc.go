// Package ledger is what the audit of a chaos run believes: what was sent and
// what ran. Neither is told by the host.
//
// What was sent stands in chaos.sent, written in the transaction that sends, so
// that a send is there exactly if its message was committed, also when the
// sender never learned how it ended. What the sender was told is committed
// stands in chaos.acked, from its memory: a message that is there and not in
// chaos.sent was lost by the database.
//
// What ran stands in a file. Each handler appends a line when it begins and
// another one when it ends, with one write each, which survives a kill -9 of its
// process and any fault of the database. Import reads it into chaos.execution
// when all is over.
//
// A run that lasts cannot leave every result and every archived message where it
// is. Where KeepRemoved says so, chaos.removed has what the audit must know of
// each row that was deleted from these tables, written in the transaction that
// deletes it.
package ledger
