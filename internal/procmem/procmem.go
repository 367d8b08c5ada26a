// Package procmem tells how much memory a process has, for what measures hosts and
// plugins. It reads what Linux tells in /proc/PID/status (proc(5)); elsewhere each
// answer is an error.
package procmem

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is resident memory, in bytes.
type Memory struct {
	Resident int64
	// Peak is the most that was resident since the process began.
	Peak int64
}

// Of reads the memory of a process. The error is os.ErrNotExist when there is no such
// process.
func Of(pid int) (m Memory, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "VmRSS":
			m.Resident = kilobytes << 10
		case "VmHWM":
			m.Peak = kilobytes << 10
		}
	}
	return m, nil
}
