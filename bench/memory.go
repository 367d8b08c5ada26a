package bench

import (
	"os"
	"strconv"
	"strings"
)

// Memory is this process's resident memory in bytes: host and measuring
// together. It is 0 where the platform does not tell.
type Memory struct {
	// Queued is with all steps queued and none taken.
	Queued int64 `json:"queued"`
	// Peak is the most until the last step was settled.
	Peak int64 `json:"peak"`
}

func readMemory() Memory {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return Memory{}
	}
	var m Memory
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "VmRSS":
			m.Queued = kilobytes << 10
		case "VmHWM":
			m.Peak = kilobytes << 10
		}
	}
	return m
}
