// Package pickup measures how long a message into an idle queue takes to the
// start of its handler: from just before the producer's autocommit send to the
// first line of the handler.
//
// stephost's handler runs in a plugin process, the stamping plugin, and the producer in
// the suite; both read the machine's monotonic clock. River's handler and producer
// are one process, as it is used. Its fetch cooldown is 1 ms, the least it allows.
//
// Blocks of samples alternate between the two. The pauses between messages are
// random, so that nobody's timer is in step with them, and reach from shorter than
// pgmq's throttle of notifications to longer.
package pickup
