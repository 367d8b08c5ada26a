package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/stephost/stephost/internal/checkup"
)

const (
	// socketName stands for what comes after the directory for temporary files in
	// the path of a plugin's socket; maxSocketPath is what Linux allows.
	socketName    = "/plugin-dir4294967295/plugin4294967295"
	maxSocketPath = 107
	// A host needs some files for itself, and these for each instance of a plugin.
	filesOfHost   = 256
	filesOfPlugin = 16
)

// machine looks at what a host needs of the system.
func (e *exam) machine(context.Context) ([]Finding, error) {
	found := temporary(os.TempDir())
	need := uint64(filesOfHost)
	if e.cfg != nil {
		for _, p := range e.cfg.Plugins {
			need += uint64(p.Instances * filesOfPlugin)
		}
		need += uint64(e.cfg.Queue.MaxConnections)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return found, fmt.Errorf("ask for the limit of open files: %w", err)
	}
	// Go raises the soft limit to the hard one, for the host as for this program.
	found = append(found, openFiles(limit.Cur, need)...)
	if len(found) == 0 {
		return checkup.Fine("%s can be written to, sockets fit into it, %d open files are allowed", os.TempDir(), limit.Cur), nil
	}
	return found, nil
}

func openFiles(limit, need uint64) []Finding {
	if limit >= need {
		return nil
	}
	return []Finding{{
		Severity: checkup.Error, Seen: fmt.Sprintf("%d open files are allowed, and this configuration may need %d", limit, need),
		Why:   "connections to the database and to plugins fail when they are used up",
		Fixes: []checkup.Fix{command("ulimit -Hn 65536 && ulimit -n 65536"), advice("under systemd: LimitNOFILE=65536 in the unit")},
	}}
}

// temporary looks at the directory in which plugins have their sockets.
func temporary(dir string) []Finding {
	why := "plugins have their sockets there, and cannot start"
	if have := len(filepath.Clean(dir)) + len(socketName); have > maxSocketPath {
		return []Finding{{
			Severity: checkup.Error, Seen: fmt.Sprintf("the directory for temporary files, %s, is too long: a socket in it would have %d bytes and %d are allowed", dir, have, maxSocketPath),
			Why:   why,
			Fixes: []checkup.Fix{command("export TMPDIR=/tmp")},
		}}
	}
	probe, err := os.MkdirTemp(dir, "stephost-doctor")
	if err != nil {
		return []Finding{{
			Severity: checkup.Error, Seen: fmt.Sprintf("the directory for temporary files cannot be written to: %v", err),
			Why:   why,
			Fixes: []checkup.Fix{command("export TMPDIR=/tmp"), advice("or let the host's user write there, on a disk that is not full")},
		}}
	}
	_ = os.Remove(probe)
	return nil
}
