// Package proc tells from /proc how much processor time processes have used.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc's times: USER_HZ, which is 100 on every Linux that Go
// runs on.
const tick = time.Second / 100

// CPU is the processor time, of user and system together, that the processes and
// all below them have used so far, those included that have ended and were
// waited for.
func CPU(pids ...int) (time.Duration, error) {
	tree, err := Tree(pids...)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, pid := range tree {
		s, err := read(pid)
		if errors.Is(err, os.ErrNotExist) {
			continue // it has ended, and its parent has its time
		}
		if err != nil {
			return 0, err
		}
		sum += s.cpu
	}
	return sum, nil
}

// Tree is the processes and all below them.
func Tree(pids ...int) ([]int, error) {
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil {
			continue
		}
		// One that has ended meanwhile is nobody's child.
		if s, err := read(pid); err == nil {
			children[s.parent] = append(children[s.parent], pid)
		}
	}
	tree := append([]int(nil), pids...)
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i]]...)
	}
	return tree, nil
}

type stats struct {
	parent int
	cpu    time.Duration
}

// The fields of /proc/PID/stat behind the name, which is in parentheses and may
// contain anything.
const (
	fieldParent = 1
	fieldUser   = 11 // then system, and both of the children that were waited for
)

func read(pid int) (stats, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stats{}, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < fieldUser+4 {
		return stats{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var s stats
	if s.parent, err = strconv.Atoi(fields[fieldParent]); err != nil {
		return stats{}, err
	}
	for _, field := range fields[fieldUser : fieldUser+4] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return stats{}, err
		}
		s.cpu += time.Duration(ticks) * tick
	}
	return s, nil
}
