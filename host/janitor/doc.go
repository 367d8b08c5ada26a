// Package janitor deletes what the configuration says is not to be kept: old
// rows of archives and, where that is asked for, old dead letters.
//
// Every minute the janitor begins a pass for each rule, which decides what is to
// go, and then deletes it chunk by chunk, the rules in turn, with a pause after
// each chunk. Chunks shrink and grow with the time that they take.
//
// # Invariants
//
//   - Without a rule nothing is deleted, and the database is not asked.
//   - One host at a time prunes a database. One that finds another at it comes
//     again a little later.
//   - At most a third of one connection's time is spent on deleting, and a
//     twentieth on looking what there is to delete.
//   - A rule that fails does not hold up the others.
package janitor
