package devpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"time"
)

// BinariesVariable is the environment variable that names the directory of
// PostgreSQL's binaries. When it is set, no other place is looked at.
const BinariesVariable = "STEPHOST_PG_BIN"

// NotFoundError says that no usable PostgreSQL binaries were found and, in one
// line, what to do about it.
type NotFoundError struct {
	// Major is the major version that the data asks for, or 0 for any.
	Major int
	// Searched are the places that were looked at.
	Searched []string
}

func (e *NotFoundError) Error() string {
	what, debian, brew := "PostgreSQL binaries", "postgresql", "postgresql@17"
	if e.Major > 0 {
		what = fmt.Sprintf("binaries of PostgreSQL %d, which made the data,", e.Major)
		debian = fmt.Sprintf("postgresql-%d", e.Major)
		brew = fmt.Sprintf("postgresql@%d", e.Major)
	}
	install := "install PostgreSQL 14 or newer"
	switch runtime.GOOS {
	case "linux":
		install = "install them (Debian, Ubuntu: apt-get install " + debian + ")"
	case "darwin":
		install = "install them (brew install " + brew + ")"
	}
	return what + " not found: " + install + ", name their directory in " + BinariesVariable + ", or set DATABASE_URL"
}

// binaries is one installation of PostgreSQL.
type binaries struct {
	dir          string
	major, minor int
}

func (b binaries) path(program string) string { return filepath.Join(b.dir, program) }

func (b binaries) newerThan(other binaries) bool {
	if b.major != other.major {
		return b.major > other.major
	}
	return b.minor > other.minor
}

// FindBinaries returns the directory of the newest PostgreSQL binaries: the one
// in $STEPHOST_PG_BIN if that is set, otherwise the newest of PATH, Debian's
// /usr/lib/postgresql, the directories of PostgreSQL's own RPMs and Homebrew's.
// The error is a *NotFoundError if there are none.
func FindBinaries() (dir string, err error) {
	found, err := findBinaries(0)
	return found.dir, err
}

// findBinaries returns the newest installation, of the given major version
// unless that is 0.
func findBinaries(major int) (binaries, error) {
	dirs := candidateDirs()
	var best binaries
	for _, dir := range dirs {
		found, err := inspectBinaries(dir)
		if err != nil || (major > 0 && found.major != major) {
			continue
		}
		if best.dir == "" || found.newerThan(best) {
			best = found
		}
	}
	if best.dir == "" {
		return binaries{}, &NotFoundError{Major: major, Searched: dirs}
	}
	return best, nil
}

func candidateDirs() []string {
	if dir := os.Getenv(BinariesVariable); dir != "" {
		return []string{dir}
	}
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql*/bin",
		"/usr/local/opt/postgresql*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
	} {
		// The only error is a malformed pattern.
		matches, _ := filepath.Glob(pattern)
		dirs = append(dirs, matches...)
	}
	return dirs
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)(?:\.(\d+))?`)

// inspectBinaries asks the server binary for its version. A directory without
// initdb is of no use: some packages ship the clients alone.
func inspectBinaries(dir string) (binaries, error) {
	found := binaries{dir: dir}
	if _, err := os.Stat(found.path("initdb")); err != nil {
		return binaries{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, found.path("postgres"), "--version").Output()
	if err != nil {
		return binaries{}, fmt.Errorf("ask %s for its version: %w", found.path("postgres"), err)
	}
	match := versionPattern.FindSubmatch(out)
	if match == nil {
		return binaries{}, errors.New("unknown version: " + string(out))
	}
	// The pattern admits digits alone; a beta has no minor version.
	found.major, _ = strconv.Atoi(string(match[1]))
	found.minor, _ = strconv.Atoi(string(match[2]))
	return found, nil
}
