// Package host is the composition root: it builds every part of a worker host
// once from a configuration, runs them, reloads them, drains them and closes them.
//
// # The life of a host
//
// New checks and connects what must be there: the configuration, the database,
// the admin address. Nothing is claimed yet. Run starts the plugins, the lanes
// and the event system, and serves until its context ends. Then it drains: the
// sources of work stop, the lanes stop claiming, handlers finish until
// drain_timeout, are cancelled, what is unfinished is given back, plugins end,
// and only then does the database connection close. Close is for a host that was
// built and never ran.
//
// While it runs, Reload reads the configuration again and takes over what has
// changed. Everything that can fail comes before anything changes: the file is
// checked, and changed plugins come up beside the old ones.
//
// # Invariants
//
//   - The configuration in force is replaced as a whole, never changed; whoever
//     needs it asks for the one in force.
//   - Every part is built here and handed to those that need it; nothing looks
//     anything up by itself.
//   - What is acquired is closed in reverse, also when a later step fails.
package host
