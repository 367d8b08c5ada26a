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
	if onNetwork(file) {
		// They refuse leases with the word that elsewhere means a writer.
		return nil
	}
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

// onNetwork recognises the file systems of NFS and of Windows' shares.
func onNetwork(file *os.File) bool {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &fs); err != nil {
		return false
	}
	switch uint32(fs.Type) {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return true
	}
	return false
}

// unlockProgram gives the lease back. Closing would not do: the shim has the
// file too.
func unlockProgram(file *os.File) {
	_, _ = unix.FcntlInt(file.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
}
