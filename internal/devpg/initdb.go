package devpg

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// dataVersion returns the major version that made the data, or 0 where there
// is none yet.
func dataVersion(data string) (int, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// initialize makes a data directory and the password file in base. It is
// complete or absent: a data directory that an interrupted initdb left is in
// another place.
func initialize(ctx context.Context, bin binaries, as account, base string, sync bool) error {
	files := layout{base: base}
	if err := os.WriteFile(files.password(), []byte(rand.Text()), 0o600); err != nil {
		return err
	}
	if err := as.own(files.password()); err != nil {
		return err
	}
	building := files.data() + ".new"
	if err := os.RemoveAll(building); err != nil {
		return err
	}
	args := []string{
		"-D", building, "-U", superuser, "--encoding=UTF8", "--locale=C",
		"--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile=" + files.password(),
	}
	if !sync {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, bin.path("initdb"), args...)
	cmd.Dir = base
	cmd.Env = environment()
	cmd.SysProcAttr = as.process()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, lastLines(string(out), 5))
	}
	return os.Rename(building, files.data())
}

// copyInitialized fills base from a directory that was initialized once for
// this version and user: a copy takes a tenth of the time of initdb. Only
// throw-away clusters use it, since copies share their system identifier.
func copyInitialized(ctx context.Context, bin binaries, as account, base string) error {
	cached, err := initializedCache(ctx, bin, as)
	if err != nil {
		return err
	}
	for _, name := range []string{"data", "password"} {
		cmd := exec.CommandContext(ctx, "cp", "-R", "-p", filepath.Join(cached, name), filepath.Join(base, name))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("copy %s: %w: %s", cached, err, out)
		}
	}
	return nil
}

// initializedCache returns the initialized directory and makes it if needed.
// Several processes may make it at once; the first to rename wins.
func initializedCache(ctx context.Context, bin binaries, as account) (string, error) {
	parent := "/var/tmp"
	if !as.switched {
		if dir, err := os.UserCacheDir(); err == nil && os.MkdirAll(dir, 0o700) == nil {
			parent = dir
		}
	}
	cached := filepath.Join(parent, fmt.Sprintf("stephost-initdb-%d-%d.%d", as.uid, bin.major, bin.minor))
	if _, err := os.Stat(cached); err == nil {
		return cached, as.mkdir(cached)
	}
	building, err := os.MkdirTemp(parent, "stephost-initdb-new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(building)
	if err := as.own(building); err != nil {
		return "", err
	}
	if err := initialize(ctx, bin, as, building, false); err != nil {
		return "", err
	}
	if err := os.Rename(building, cached); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return cached, as.mkdir(cached)
}

// environment is what PostgreSQL's programs get: nothing of the caller's
// PG variables, which would lead them to another cluster.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=" + os.Getenv("TZ")}
}

// startTimeout bounds Start and Restart where the caller's context does not.
const startTimeout = 2 * time.Minute
