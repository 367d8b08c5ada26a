package supervisor

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// leaseTimeout is how long a writer gets to close the file.
const leaseTimeout = time.Second

// lockProgram keeps others from opening the file for writing, by a lease, until
// unlockProgram. Where this process may not have one, or the file system has
// none, the file stays open to those who may write into it.
func lockProgram(file *os.File) error {
	deadline := time.Now().Add(leaseTimeout)
	for {
		_, err := unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
		switch {
		case !errors.Is(err, unix.EAGAIN):
			return nil
		case time.Now().After(deadline):
			return errors.New("somebody has it open for writing")
		}
		// A program that has just been copied may be open in a child of this
		// process that has not executed its own program yet.
		time.Sleep(5 * time.Millisecond)
	}
}

// unlockProgram gives the lease back. Closing would not do: the shim has the
// file too.
func unlockProgram(file *os.File) {
	_, _ = unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
}
