// Package doctor finds what is wrong with a configuration, its plugins, its
// database, this machine and the host that runs, and says for each finding what
// was seen, why it matters and what helps. What it looks for in the database is
// in queues/pgmq/doctor.
//
// It works with whatever is there: without a host, without a database, with a
// file that is not valid. What cannot be checked is said, with the reason, and
// the rest goes on. A running host is asked and otherwise left alone: a plugin
// that must not run twice is not started beside it.
package doctor
