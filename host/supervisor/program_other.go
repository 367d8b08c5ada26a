//go:build !linux

package supervisor

import "os"

// lockProgram does nothing: there are no leases.
func lockProgram(*os.File) error { return nil }

// unlockProgram does nothing.
func unlockProgram(*os.File) {}
