package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hostLeaf is where the host moves itself.
const hostLeaf = "stephost-host"

// removeTimeout is how long the kernel gets to end what is left in a leaf.
const removeTimeout = 2 * time.Second

// Create makes a leaf with these limits below the host's cgroup. name tells
// leaves apart; it is made unique for this host.
func Create(name string, limits Limits) (*Leaf, error) {
	base, err := ownDirectory("/proc/self")
	if err != nil {
		return nil, err
	}
	if err := delegated(base); err != nil {
		return nil, err
	}
	if err := enable(base, limits.controllers()); err != nil {
		return nil, err
	}
	sweep(base)
	dir, err := os.MkdirTemp(base, fmt.Sprintf("stephost-%d-%s-", os.Getpid(), name))
	if err != nil {
		return nil, explain(base, err)
	}
	leaf := &Leaf{path: dir}
	if leaf.dir, err = os.Open(dir); err == nil {
		err = limits.write(dir)
	}
	if err != nil {
		return nil, errors.Join(err, leaf.Remove())
	}
	return leaf, nil
}

// sweep removes the empty leaves of hosts that were killed.
func sweep(base string) {
	leaves, _ := filepath.Glob(filepath.Join(base, "stephost-*-*"))
	for _, leaf := range leaves {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(leaf), "stephost-%d-", &pid); err != nil {
			continue
		}
		if errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			// One with processes in it stays.
			_ = unix.Rmdir(leaf)
		}
	}
}

// ownDirectory is the host's cgroup in the file system, whatever leaf of it the
// host has moved to. proc is the process's directory below /proc.
func ownDirectory(proc string) (string, error) {
	mount, root, err := findMount(proc)
	if err != nil {
		return "", err
	}
	cgroups, err := os.ReadFile(filepath.Join(proc, "cgroup"))
	if err != nil {
		return "", fmt.Errorf("find the host's cgroup: %w", err)
	}
	for line := range strings.Lines(string(cgroups)) {
		own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		own = strings.TrimSuffix(own, "/"+hostLeaf)
		inside, err := filepath.Rel(root, "/"+strings.TrimPrefix(own, "/"))
		if err != nil || strings.HasPrefix(inside, "..") {
			return "", fmt.Errorf("the host's cgroup %s is not below the mounted one (%s)", own, root)
		}
		return filepath.Join(mount, inside), nil
	}
	return "", errors.New("the host is in no cgroup of version 2")
}

// findMount is where cgroup v2 is mounted, and which of its directories is.
func findMount(proc string) (mount, root string, err error) {
	infos, err := os.ReadFile(filepath.Join(proc, "mountinfo"))
	if err != nil {
		return "", "", fmt.Errorf("find the cgroup file system: %w", err)
	}
	for line := range strings.Lines(string(infos)) {
		// 36 35 98:0 /root /mount/point rw - type source options
		head, tail, _ := strings.Cut(line, " - ")
		fields := strings.Fields(head)
		if strings.HasPrefix(tail, "cgroup2 ") && len(fields) >= 5 {
			return fields[4], fields[3], nil
		}
	}
	return "", "", errors.New("no cgroup file system of version 2 is mounted")
}

// delegated keeps a host that runs as root out of cgroups that belong to
// systemd. For others the permissions decide.
func delegated(base string) error {
	if _, err := os.Stat("/run/systemd/system"); err != nil || os.Geteuid() != 0 {
		return nil
	}
	value := make([]byte, 8)
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		if n, err := unix.Getxattr(base, name, value); err == nil && string(value[:n]) == "1" {
			return nil
		}
	}
	return fmt.Errorf("systemd has not delegated the host's cgroup %s: set Delegate=cpu memory pids in the host's unit", base)
}

// enable hands controllers to the children of a cgroup.
func enable(base string, wanted []string) error {
	have, err := list(base, "cgroup.controllers")
	if err != nil {
		return explain(base, err)
	}
	on, err := list(base, "cgroup.subtree_control")
	if err != nil {
		return explain(base, err)
	}
	var missing, change []string
	for _, controller := range wanted {
		if !slices.Contains(have, controller) {
			missing = append(missing, controller)
		}
		if !slices.Contains(on, controller) {
			change = append(change, "+"+controller)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the host's cgroup %s has no controller %s (it has: %s)", base,
			strings.Join(missing, ", "), strings.Join(have, ", "))
	}
	if len(change) == 0 {
		return nil
	}
	control := filepath.Join(base, "cgroup.subtree_control")
	err = write(control, strings.Join(change, " "))
	if errors.Is(err, unix.EBUSY) {
		// It has processes, this one among them.
		if err = moveDown(base); err == nil {
			err = write(control, strings.Join(change, " "))
		}
	}
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("the host's cgroup %s has other processes than the host, so that it cannot have children with limits", base)
	case err != nil:
		return explain(base, err)
	}
	return nil
}

// moveDown takes the host out of its cgroup's way. Doing it again is harmless.
func moveDown(base string) error {
	leaf := filepath.Join(base, hostLeaf)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return write(filepath.Join(leaf, "cgroup.procs"), strconv.Itoa(os.Getpid()))
}

func list(dir, file string) ([]string, error) {
	content, err := os.ReadFile(filepath.Join(dir, file))
	return strings.Fields(string(content)), err
}

// write needs the file to exist: one that a controller provides.
func write(path, content string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Close())
}

// explain says what refused permissions mean.
func explain(base string, err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return fmt.Errorf("the host's cgroup %s is not delegated to it: %w", base, err)
	}
	return err
}

func (l Limits) write(dir string) error {
	for file, content := range l.files() {
		if err := write(filepath.Join(dir, file), content); err != nil {
			return fmt.Errorf("set a limit of the plugin's cgroup: %w", err)
		}
	}
	return nil
}

// FD is the open directory, for the process that is to join.
func (l *Leaf) FD() *os.File { return l.dir }

// OutOfMemory reports whether the kernel has killed a process in the leaf
// because it reached the limit.
func (l *Leaf) OutOfMemory() bool {
	events, err := os.ReadFile(filepath.Join(l.path, "memory.events"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(events)) {
		if count, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			return count != "0"
		}
	}
	return false
}

// Remove kills what is left in the leaf and removes it. It may be called more
// than once.
func (l *Leaf) Remove() error {
	if l.dir != nil {
		_ = l.dir.Close()
	}
	deadline := time.Now().Add(removeTimeout)
	for {
		// Kernels before 5.14 do not have it; the group has been killed anyway.
		_ = write(filepath.Join(l.path, "cgroup.kill"), "1")
		err := unix.Rmdir(l.path)
		switch {
		case err == nil || errors.Is(err, unix.ENOENT):
			return nil
		case !errors.Is(err, unix.EBUSY) || time.Now().After(deadline):
			return fmt.Errorf("remove the plugin's cgroup: %w", &fs.PathError{Op: "rmdir", Path: l.path, Err: err})
		}
		time.Sleep(2 * time.Millisecond)
	}
}
