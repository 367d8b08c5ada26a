// Package devbuild builds plugins whose command is a Go package instead of a
// program, and builds them again when one of their files is saved: for
// `stephost dev`.
//
// # The life of a package
//
// Each package is listed, which tells the directories that its build reads
// within modules on this machine, then built beside its output and moved there,
// and then the host swaps the plugin. What does not build is shown as the
// compiler says it; the output stays as it is, so that the version that runs
// serves on. A package that has not been built yet has no output, and its plugin
// is held: the namespaces wait for the first build that succeeds.
//
// # Invariants
//
//   - The output is replaced by a rename, and only by a program that is complete.
//   - A version that does not come up is taken back: the output is what runs.
//   - A package belongs to whoever builds it: one build at a time.
//   - A save during a build is built afterwards.
package devbuild
