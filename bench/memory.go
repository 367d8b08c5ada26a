package bench

import (
	"os"

	"github.com/stephost/stephost/internal/procmem"
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
	own := memoryOf(os.Getpid())
	return Memory{Queued: own.Resident, Peak: own.Peak}
}

// memoryOf is zero where the platform does not tell.
func memoryOf(pid int) procmem.Memory {
	m, _ := procmem.Of(pid)
	return m
}
