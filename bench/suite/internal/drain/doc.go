// Package drain measures how fast a full queue is emptied: by a host through a
// plugin process, by bare SQL, by River and by a plain pgmq consumer.
//
// # One run of a contender
//
// It gets a database of its own, starts in a process of its own, works off a few
// steps so that connections, prepared statements and caches are there, and
// waits. The queue is filled, the database brought to rest (VACUUM, ANALYZE,
// CHECKPOINT), and the contender released. The clock runs from that moment to
// the commit of the last settlement, as the server has noted it: so nobody is
// slowed down by being asked whether he is done, and all are timed by the same
// rule. Where nothing is left of the steps (on_complete = "delete") the clock stops
// with the server's last commit.
//
// Afterwards the database is asked: every step must be settled and the queue
// empty. Processor time is that of the contender's processes, plugins included,
// and of all of PostgreSQL's.
//
// # Rounds
//
// In each round every contender has one turn, in an order that rotates. Ratios
// are taken within a round, and the figure is the median over the rounds. Which
// setting is a contender's best was found out before, by a sweep: each setting once
// on a small queue, and in the full form the fastest three again on a large one. Both
// are in the report.
package drain
