package devpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is one run of the postgres program.
type server struct {
	pid  int
	done chan struct{}
	// err is how it ended; read it after done.
	err error
}

// errPortTaken means that another program has the port.
var errPortTaken = errors.New("port is taken")

// startServer starts postgres and waits until it accepts connections.
func startServer(ctx context.Context, bin binaries, as account, files layout, settings, env []string, dog *watchdog) (*server, error) {
	logFile, err := os.OpenFile(files.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	start, err := logFile.Seek(0, 2)
	if err != nil {
		return nil, err
	}
	args := []string{"-D", files.data()}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	cmd := exec.Command(bin.path("postgres"), args...)
	cmd.Dir = files.base
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = as.process()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	s := &server{pid: cmd.Process.Pid, done: make(chan struct{})}
	watchErr := dog.watch(s.pid)
	go func() {
		defer close(s.done)
		s.err = cmd.Wait()
		// A watchdog that is gone needs no news.
		_ = dog.watch(0)
	}()
	err = watchErr
	if err == nil {
		err = s.waitReady(ctx, files)
	}
	if err != nil {
		s.stop(context.Background(), syscall.SIGQUIT)
		said := logSince(files.log(), start)
		if strings.Contains(said, "could not create any TCP/IP sockets") {
			return nil, errPortTaken
		}
		return nil, fmt.Errorf("%w; its log says: %s", err, lastLines(said, 5))
	}
	return s, nil
}

// waitReady waits as pg_ctl does: the server writes its state into the pid
// file, and connections are accepted once that is "ready".
func (s *server) waitReady(ctx context.Context, files layout) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		if serverState(files, s.pid) == "ready" {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("postgres ended while starting: %v", s.err)
		case <-ctx.Done():
			return fmt.Errorf("wait for postgres to start: %w", context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// stop sends the signal and waits. When ctx ends, or after ten seconds more for
// each step, it becomes harsher.
func (s *server) stop(ctx context.Context, signal syscall.Signal) {
	s.signal(signal)
	select {
	case <-s.done:
		return
	case <-ctx.Done():
	}
	for _, harsher := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGKILL} {
		s.signal(harsher)
		select {
		case <-s.done:
			return
		case <-time.After(10 * time.Second):
		}
	}
}

// signal does nothing once the server has ended: its process id may be
// another's by then.
func (s *server) signal(signal syscall.Signal) {
	select {
	case <-s.done:
	default:
		// It may end this very moment; the zombie takes the signal.
		_ = syscall.Kill(s.pid, signal)
	}
}

// pidFile reads the lines of postmaster.pid, which has the process id first and
// the state eighth.
func pidFile(files layout) []string {
	text, err := os.ReadFile(filepath.Join(files.data(), "postmaster.pid"))
	if err != nil {
		return nil
	}
	lines := strings.Split(string(text), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return lines
}

// serverState returns the state that the server with this process id wrote.
func serverState(files layout, pid int) string {
	lines := pidFile(files)
	if len(lines) < 8 || lines[0] != strconv.Itoa(pid) {
		return ""
	}
	return lines[7]
}

// clearStale deals with a pid file in a directory whose lock we hold: the
// server of a holder that died is stopped, and a file whose process id belongs
// to another program by now is removed, for postgres would not start.
func clearStale(ctx context.Context, files layout) error {
	lines := pidFile(files)
	if len(lines) == 0 {
		return nil
	}
	pid, err := strconv.Atoi(lines[0])
	if err != nil || pid <= 1 || !runsData(ctx, pid, files.data()) {
		if err := os.Remove(filepath.Join(files.data(), "postmaster.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove a stale pid file: %w", err)
		}
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the server that an earlier run left: %w", err)
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for runsData(ctx, pid, files.data()) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the server that an earlier run left (process %d): %w", pid, context.Cause(ctx))
		case <-ticker.C:
		}
	}
	return nil
}

// runsData tells whether the process is a server of this data directory, by
// its command line.
func runsData(ctx context.Context, pid int, data string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		line, err = exec.CommandContext(ctx, "ps", "-ww", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	}
	return err == nil && bytes.Contains(line, []byte(data))
}
