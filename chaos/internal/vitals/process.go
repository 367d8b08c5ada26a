package vitals

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// process is one process as /proc tells.
type process struct {
	pid, parent int
	zombie      bool
	threads     int
	resident    int64
	descriptors int
	args        []string
}

// processesOf returns the processes whose environment has the variable. It is how a
// world knows its own: hosts, shims and plugins inherit it, also when whoever
// started them is dead. A zombie has no environment any more and belongs to its
// parent.
func processesOf(variable string) ([]process, error) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	var ours, zombies []process
	for _, dir := range dirs {
		pid, err := strconv.Atoi(dir.Name())
		if err != nil {
			continue
		}
		// A process that ends meanwhile is none.
		p, err := inspect(pid)
		if err != nil {
			continue
		}
		if p.zombie {
			zombies = append(zombies, p)
			continue
		}
		environ, err := os.ReadFile(path(pid, "environ"))
		if err != nil || !slices.Contains(strings.Split(string(environ), "\x00"), variable) {
			continue
		}
		if p.descriptors, err = descriptors(pid); err != nil {
			continue
		}
		ours = append(ours, p)
	}
	for _, z := range zombies {
		if slices.ContainsFunc(ours, func(p process) bool { return p.pid == z.parent }) {
			ours = append(ours, z)
		}
	}
	return ours, nil
}

func path(pid int, name string) string { return filepath.Join("/proc", strconv.Itoa(pid), name) }

// The fields of /proc/PID/stat behind the name, which is in parentheses and may
// contain anything.
const (
	statState    = 0
	statParent   = 1
	statThreads  = 17
	statResident = 21
)

func inspect(pid int) (process, error) {
	stat, err := os.ReadFile(path(pid, "stat"))
	if err != nil {
		return process{}, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) <= statResident {
		return process{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	p := process{pid: pid, zombie: fields[statState] == "Z"}
	var pages int64
	for _, field := range []struct {
		at int
		to *int
	}{{statParent, &p.parent}, {statThreads, &p.threads}} {
		if *field.to, err = strconv.Atoi(fields[field.at]); err != nil {
			return process{}, err
		}
	}
	if pages, err = strconv.ParseInt(fields[statResident], 10, 64); err != nil {
		return process{}, err
	}
	p.resident = pages * int64(os.Getpagesize())
	cmdline, err := os.ReadFile(path(pid, "cmdline"))
	p.args = strings.Split(string(bytes.TrimRight(cmdline, "\x00")), "\x00")
	return p, err
}

func descriptors(pid int) (int, error) {
	dir, err := os.Open(path(pid, "fd"))
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	return len(names), err
}
