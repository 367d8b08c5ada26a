// Package steady measures pickup latency while messages keep coming, and with
// polling alone.
//
// Producers keep to a timetable: a late one does not send less. Latency counts
// from just before the send, an autocommit statement, to the first line of the
// handler in the plugin process, and both read the machine's monotonic clock.
package steady
