package devpg

import (
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// watchdogScript reads process ids of the server, the newest of which counts
// (0: none runs), until the pipe ends. Then it sends the signals one after the
// other until the server is gone, and removes what it was told to remove.
const watchdogScript = `
pid=0
while read -r line; do pid=$line; done
gone() { ! kill -0 "$pid" 2>/dev/null; }
if [ "$pid" -gt 1 ]; then
	for signal in $1; do
		kill -s "$signal" "$pid" 2>/dev/null
		n=0
		while [ $n -lt 100 ]; do
			gone && break 2
			sleep 0.1
			n=$((n + 1))
		done
	done
fi
shift
rm -rf "$@"
`

// watchdog stops the server and removes directories when the process that
// started both is gone. See the package comment for why it is a pipe.
type watchdog struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// startWatchdog starts one that tries the signals in turn. It runs as the
// caller and in a session of its own.
func startWatchdog(signals string, remove ...string) (*watchdog, error) {
	args := append([]string{"-c", watchdogScript, "stephost-watchdog", signals}, remove...)
	cmd := exec.Command("/bin/sh", args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	return &watchdog{cmd: cmd, pipe: pipe}, nil
}

// watch tells it the process id of the server that runs now; 0 for none.
func (w *watchdog) watch(pid int) error {
	_, err := fmt.Fprintln(w.pipe, pid)
	return err
}

// release ends the watch and waits until the directories are removed.
func (w *watchdog) release() error {
	w.pipe.Close()
	return w.cmd.Wait()
}
