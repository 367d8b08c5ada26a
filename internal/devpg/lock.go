package devpg

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// InUseError says that another process runs the cluster of a directory.
type InUseError struct {
	Dir string
	// Holder is the process id of the other one, as text; it may be empty.
	Holder string
}

func (e *InUseError) Error() string {
	holder := "another process"
	if e.Holder != "" {
		holder = "process " + e.Holder
	}
	return fmt.Sprintf("the database in %s is in use by %s: stop that first, or choose another directory", e.Dir, holder)
}

// acquireLock takes the lock of a cluster's directory without waiting. The
// kernel releases it when the file is closed or the process dies.
func acquireLock(files layout) (*os.File, error) {
	file, err := os.OpenFile(files.lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock file: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			// Who holds it is a courtesy to the reader of the error.
			holder, _ := os.ReadFile(files.lock())
			return nil, &InUseError{Dir: files.base, Holder: strings.TrimSpace(string(holder))}
		}
		return nil, fmt.Errorf("lock %s: %w", files.lock(), err)
	}
	if err = file.Truncate(0); err == nil {
		_, err = fmt.Fprintf(file, "%d\n", os.Getpid())
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("write %s: %w", files.lock(), err)
	}
	return file, nil
}
