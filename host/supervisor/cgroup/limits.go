package cgroup

import (
	"fmt"
	"os"
	"strconv"
)

// Limits are what the kernel enforces for all processes of a leaf together.
// Zero means none.
type Limits struct {
	CPUs      float64 // processors' worth of time
	Memory    int64   // bytes
	Processes int     // threads count
}

// Leaf is one cgroup.
type Leaf struct {
	path string
	dir  *os.File
}

// cpuPeriod is the kernel's default, in microseconds.
const cpuPeriod = 100_000

// controllers are those that the limits need.
func (l Limits) controllers() []string {
	var names []string
	if l.CPUs > 0 {
		names = append(names, "cpu")
	}
	if l.Memory > 0 {
		names = append(names, "memory")
	}
	if l.Processes > 0 {
		names = append(names, "pids")
	}
	return names
}

// files are what is written into a leaf's directory.
func (l Limits) files() map[string]string {
	files := make(map[string]string)
	if l.CPUs > 0 {
		files["cpu.max"] = fmt.Sprintf("%d %d", max(int64(l.CPUs*cpuPeriod), 1000), cpuPeriod)
	}
	if l.Memory > 0 {
		files["memory.max"] = strconv.FormatInt(l.Memory, 10)
		// A plugin without one of its processes is not the plugin that started.
		files["memory.oom.group"] = "1"
	}
	if l.Processes > 0 {
		files["pids.max"] = strconv.Itoa(l.Processes)
	}
	return files
}
