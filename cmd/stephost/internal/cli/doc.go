// Package cli is the command line of stephost: it reads flags, calls the
// packages that do the work, and prints what came back.
//
// # Invariants
//
//   - Results go to standard output, as a table for people and with --json as
//     JSON for programs. Errors go to standard error, in one line that says what
//     to do; only the diagnostics of a configuration file take more.
//   - The exit code tells what kind of failure it was; see the Exit constants.
package cli
