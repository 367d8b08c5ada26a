package supervisor_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// lookAround is the test plugin's step "self".
func lookAround(mode string) []byte {
	s := surroundings{UID: os.Getuid(), GID: os.Getgid(), Env: os.Environ(), DeathSignalIsSet: deathSignal == int32(syscall.SIGKILL)}
	s.Dir, _ = os.Getwd()
	s.Groups, _ = os.Getgroups()
	limits, _ := os.ReadFile("/proc/self/limits")
	cgroup, _ := os.ReadFile("/proc/self/cgroup")
	s.Limits, s.Cgroup = string(limits), string(cgroup)
	s.ManyFiles, s.LargeFile = textOf(openMany()), textOf(writeMuch())
	if mode == "children" {
		s.Children = startMany()
	}
	out, _ := json.Marshal(s)
	return out
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func openMany() error {
	for range 300 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
	}
	return nil
}

func writeMuch() error {
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	return os.WriteFile(filepath.Join(dir, "large"), bytes.Repeat([]byte{'x'}, 1<<16), 0o600)
}

func startMany() int {
	for n := range 100 {
		if exec.Command("sleep", "1000").Start() != nil {
			return n
		}
	}
	return 100
}
