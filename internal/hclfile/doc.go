// Package hclfile is what all readers of the user's HCL have in common: the
// function env, and diagnostics that show file, line, column and the source
// line.
//
// No diagnostic shows a secret: what came from the environment is marked and is
// not quoted, and text that is written for a secret key is masked in the source
// line.
package hclfile
