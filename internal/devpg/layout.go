package devpg

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// layout names the files of one cluster.
type layout struct {
	// base has all that the cluster keeps.
	base string
	// sockets is apart from it, for the path of a unix socket may have no more
	// than 103 bytes.
	sockets string
}

func (l layout) data() string     { return filepath.Join(l.base, "data") }
func (l layout) log() string      { return filepath.Join(l.base, "server.log") }
func (l layout) lock() string     { return filepath.Join(l.base, "lock") }
func (l layout) password() string { return filepath.Join(l.base, "password") }

// persistentBase returns where the data of the wanted directory is kept. Root
// gets a place outside: the server's user can rarely enter what is root's.
func persistentBase(dir string, as account) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if !as.switched {
		return abs, os.MkdirAll(filepath.Dir(abs), 0o755)
	}
	if resolved, err := filepath.EvalSymlinks(abs); err == nil {
		abs = resolved
	}
	sum := sha256.Sum256([]byte(abs))
	return filepath.Join("/var/tmp", "stephost-"+hex.EncodeToString(sum[:6])), nil
}

// tempDir makes a private directory with a short path that the account can
// reach.
func tempDir(as account) (string, error) {
	parent := os.TempDir()
	if as.switched || len(parent) > 60 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "stephost-pg-")
	if err != nil {
		return "", fmt.Errorf("make a directory for the cluster: %w", err)
	}
	return dir, as.own(dir)
}
