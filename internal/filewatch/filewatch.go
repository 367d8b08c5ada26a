// Package filewatch notices when files have changed and are complete again. It
// looks at them from time to time, which finds every way in which a file can be
// replaced: rewritten in place, renamed over, deleted with its directory and
// made anew, on any kind of file system.
package filewatch

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// State says what is known of a file without reading it; it changes whenever
// the file does. A file that is not there has one too.
func State(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "absent"
	}
	var inode uint64
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = sys.Ino
	}
	return fmt.Sprintf("%d %v %d %d", inode, info.Mode(), info.Size(), info.ModTime().UnixNano())
}

// Sum is the SHA-256 of a file's content, in hex.
func Sum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", fmt.Errorf("hash %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Debounce tells when a state has changed and then stayed the same for a while.
// The first state that it is shown is the one that changes count from. It is
// not safe for concurrent use.
type Debounce struct {
	// Quiet is how long files must have been left alone to be complete.
	Quiet time.Duration

	begun         bool
	settled, seen string
	since         time.Time
}

// Look reports true once for each change.
func (d *Debounce) Look(state string, now time.Time) bool {
	if !d.begun {
		d.begun, d.settled, d.seen = true, state, state
		return false
	}
	if state != d.seen {
		d.seen, d.since = state, now
	}
	if d.seen == d.settled || now.Sub(d.since) < d.Quiet {
		return false
	}
	d.settled = d.seen
	return true
}

// Again makes the latest change be reported once more.
func (d *Debounce) Again() { d.settled = "" }
