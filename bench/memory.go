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
	resident, peak := memoryOf("self")
	return Memory{Queued: resident, Peak: peak}
}

// residentOf is a process's resident memory.
func residentOf(pid int) int64 {
	resident, _ := memoryOf(strconv.Itoa(pid))
	return resident
}

func memoryOf(process string) (resident, peak int64) {
	status, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "VmRSS":
			resident = kilobytes << 10
		case "VmHWM":
			peak = kilobytes << 10
		}
	}
	return resident, peak
}
