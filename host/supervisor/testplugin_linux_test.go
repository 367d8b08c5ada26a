package supervisor_test

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// deathSignal is read while the process starts: it belongs to the thread that
// has executed the program.
var deathSignal = func() (signal int32) { //nolint:gochecknoglobals // never changes
	_ = unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0, 0, 0)
	return signal
}()
