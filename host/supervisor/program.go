package supervisor

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/stephost/stephost/host/supervisor/shim"
)

// program is what the shim executes.
type program struct {
	path string
	// file is the verified program where path names its descriptor.
	file *os.File
}

func (p program) close() {
	if p.file != nil {
		unlockProgram(p.file)
		_ = p.file.Close()
	}
}

// executed lets others write into the file again.
func (p program) executed() {
	if p.file != nil {
		unlockProgram(p.file)
	}
}

// openProgram checks that the command can be executed and is the pinned one.
func openProgram(command, pin string) (program, error) {
	p, err := checkProgram(command, pin)
	if err != nil {
		return program{}, &ProgramError{Command: command, Err: err}
	}
	return p, nil
}

// CheckProgram reports whether a spec's command can be executed and is the
// pinned one, as a start would: with a *ProgramError.
func CheckProgram(spec Spec) error {
	prog, err := openProgram(spec.Command, spec.SHA256)
	if err == nil {
		prog.close()
	}
	return err
}

func checkProgram(command, pin string) (program, error) {
	info, err := os.Stat(command)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return program{}, errors.New("there is no such file")
	case err != nil:
		return program{}, err
	case info.IsDir():
		return program{}, errors.New("it is a directory")
	case info.Mode()&0o111 == 0:
		return program{}, fmt.Errorf("it is not executable (mode %v)", info.Mode())
	}
	if pin == "" {
		return program{path: command}, nil
	}
	file, err := os.Open(command)
	if err != nil {
		return program{}, err
	}
	p := program{path: fmt.Sprintf("/proc/self/fd/%d", shim.ProgramFD), file: file}
	if err := lockProgram(file); err != nil {
		p.close()
		return program{}, err
	}
	if err := verify(file, pin); err != nil {
		p.close()
		return program{}, err
	}
	if runtime.GOOS != "linux" {
		return program{path: command}, file.Close()
	}
	return p, nil
}

func verify(r io.Reader, pin string) error {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return fmt.Errorf("hash: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, pin) {
		return fmt.Errorf("its sha256 is %s, but %s is pinned", got, strings.ToLower(pin))
	}
	return nil
}

// explainExec puts a failed execution into words.
func explainExec(command string, err error) error {
	explained := err
	var setup *shim.SetupError
	switch {
	case errors.As(err, &setup):
		explained = explainSetup(setup)
	case errors.Is(err, syscall.ENOEXEC):
		explained = fmt.Errorf("it is not a program for %s/%s%s: %w", runtime.GOOS, runtime.GOARCH, madeFor(command), err)
	case errors.Is(err, syscall.ENOENT):
		explained = fmt.Errorf("its interpreter or loader is missing: %w", err)
	case errors.Is(err, syscall.EACCES):
		explained = fmt.Errorf("its user may not execute it, or its interpreter, or may not look into one of the directories above it: %w", err)
	case errors.Is(err, syscall.EAGAIN):
		explained = fmt.Errorf("its user has as many processes and threads as the system or limits.processes allows: %w", err)
	case errors.Is(err, shim.ErrNoReport):
		return err
	}
	return &ProgramError{Command: command, Err: explained}
}

// madeFor names the architecture of an ELF file.
func madeFor(command string) string {
	f, err := elf.Open(command)
	if err != nil {
		return " (nor a script with a #! line)"
	}
	defer func() { _ = f.Close() }()
	return fmt.Sprintf(" but for %s", strings.TrimPrefix(f.Machine.String(), "EM_"))
}
