// Package devpg runs a private PostgreSQL cluster from the binaries that the
// system has: for `stephost dev`, which keeps its data, and for the tests,
// which throw it away (see devpgtest).
//
// # How a cluster lives
//
// Start finds the binaries, takes the lock of the cluster's directory, runs
// initdb once, starts the server and returns when it accepts connections. The
// server listens on a unix socket in a directory that only its user (and root)
// can enter, without a password, and on 127.0.0.1 with a random one.
//
// PostgreSQL refuses to run as root. When the caller is root the server runs
// as user postgres, or nobody, and its files are kept where that user can
// reach them.
//
// StartPooler puts a PgBouncer before a cluster, for tests of what a transaction
// pooler does to a client.
//
// # Invariants
//
//   - One directory has at most one server: a lock that the kernel releases when
//     its holder dies guards it, and a server that an earlier holder left behind
//     is stopped first.
//   - The server is in a session of its own, so that Ctrl-C reaches the host
//     alone and the drain still has a database.
//   - No server outlives the process that started it. A watchdog, a shell that
//     reads a pipe whose only writer is that process, stops the server when the
//     pipe ends. A pipe is closed by the kernel however its writer dies (SIGKILL,
//     a panic, the timeout of `go test`), on every Unix; a parent-death signal
//     would be Linux only and follows the thread, not the process, that started
//     the child.
package devpg
