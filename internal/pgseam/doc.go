// Package pgseam is a proxy between a PostgreSQL client and its server that
// stops a statement at one of its two seams: before the server has seen it, or
// after the server has committed it and before the client knows. There the test
// can do anything else, and then let the statement go on or cut the connection.
// That makes interleavings of statements and the unknown fate of a COMMIT things
// that a test decides, and not luck.
//
// It understands the extended query protocol on a connection without TLS, as
// far as to know which statement is being executed.
package pgseam
