package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// stageFD is where the stage says what has failed. It closes when the program
// is executed.
const stageFD = 3

// stageCommand stands in the place of the encoded setup's reader: the shim's
// own binary is to prepare itself and become the plugin.
const stageCommand = "stage"

// startStaged starts the plugin by way of this binary: the child takes the
// setup upon itself and then executes the program, under the same process id.
// Doing it in the shim would limit the shim, and doing it to a plugin that runs
// already would come too late.
func startStaged(setup Setup, args []string) (*exec.Cmd, error) {
	self, err := selfPath()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	argv, err := Arguments(setup, args[0], args[1:])
	if err != nil {
		_ = w.Close()
		return nil, err
	}
	cmd := &exec.Cmd{
		Path:        self,
		Args:        append([]string{self, Command, stageCommand}, argv...),
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		ExtraFiles:  []*os.File{w},
		SysProcAttr: attributes(),
	}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return nil, err
	}
	said, _ := io.ReadAll(r)
	if len(said) == 0 {
		return cmd, nil
	}
	_ = cmd.Wait()
	var step, n, errno int
	if _, err := fmt.Sscanf(string(said), "%d %d %d", &step, &n, &errno); err != nil {
		return nil, syscall.EINVAL
	}
	return nil, &stageError{step: step, n: n, errno: syscall.Errno(errno)}
}

func selfPath() (string, error) {
	if runtime.GOOS == "linux" {
		// It works whoever may see the path, also when the file was replaced.
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

// stageError is a step that failed before the program ran.
type stageError struct {
	step, n int
	errno   syscall.Errno
}

func (e *stageError) Error() string { return e.errno.Error() }

func (e *stageError) Unwrap() error { return e.errno }

// stage prepares this process and becomes the plugin. It returns only when
// that fails.
func stage(setup Setup, args []string) int {
	// Credentials' side effects and the parent-death signal belong to a thread.
	runtime.LockOSThread()
	syscall.CloseOnExec(stageFD)
	parent := os.Getppid()
	err := setup.apply()
	if err == nil {
		// A change of user has switched the parent-death signal off.
		err = keepParentDeathSignal()
	}
	if err == nil && os.Getppid() != parent {
		return 127
	}
	if err == nil {
		err = syscall.Exec(args[0], args[1:], os.Environ())
	}
	failed := &stageError{step: stepExec}
	if !errors.As(err, &failed) {
		_ = errors.As(err, &failed.errno)
	}
	out := os.NewFile(stageFD, "stage")
	_, _ = fmt.Fprintf(out, "%d %d %d\n", failed.step, failed.n, int(failed.errno))
	return 127
}

// apply does everything in the order in which it is allowed: what needs root
// comes before the change of user, what the user must be able to do after it.
func (s Setup) apply() error {
	if s.Cgroup != 0 {
		if err := joinCgroup(s.Cgroup); err != nil {
			return failedStep(stepCgroup, 0, err)
		}
	}
	for n, l := range s.Limits {
		if err := l.set(); err != nil {
			return failedStep(stepLimit, n, err)
		}
	}
	if id := s.Identity; id != nil {
		if err := id.assume(); err != nil {
			return failedStep(stepIdentity, 0, err)
		}
	}
	if s.Dir != "" {
		if err := os.Chdir(s.Dir); err != nil {
			return failedStep(stepDir, 0, err)
		}
	}
	return nil
}

func failedStep(step, n int, err error) error {
	e := &stageError{step: step, n: n, errno: syscall.EINVAL}
	_ = errors.As(err, &e.errno)
	return e
}

func (l Limit) set() error {
	resource := map[LimitName]int{
		LimitOpenFiles: unix.RLIMIT_NOFILE,
		LimitProcesses: unix.RLIMIT_NPROC,
		LimitFileSize:  unix.RLIMIT_FSIZE,
		LimitCore:      unix.RLIMIT_CORE,
	}
	number, known := resource[l.Name]
	if !known {
		return syscall.EINVAL
	}
	// Through package syscall, which would else restore what it has done to
	// RLIMIT_NOFILE when the program is executed.
	return syscall.Setrlimit(number, &syscall.Rlimit{Cur: l.Value, Max: l.Value})
}

func (id Identity) assume() error {
	// Who is that user already may not be allowed to say so.
	if os.Geteuid() == id.UID && os.Getegid() == id.GID && os.Geteuid() != 0 {
		return nil
	}
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setgid(id.GID); err != nil {
		return err
	}
	return syscall.Setuid(id.UID)
}
