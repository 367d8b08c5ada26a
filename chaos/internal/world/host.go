package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stephost/stephost/host/admin"
)

// Host is one `stephost run`, over all its starts. It is safe for concurrent
// use.
type Host struct {
	Index  int
	config string
	log    string
	binary string

	mu       sync.Mutex
	settings Settings
	cmd      *exec.Cmd
	ended    chan struct{} // of cmd
	client   *admin.Client
	addr     string // of client
	starts   int
}

// serves is the line of a host that is up.
var serves = regexp.MustCompile(`host serves: .*admin=(\S+)`)

func newHost(w *World, index int, route Route) (*Host, error) {
	name := fmt.Sprintf("host-%d", index)
	h := &Host{
		Index: index, binary: w.Stephost,
		config:   filepath.Join(w.Dir, name+".hcl"),
		log:      filepath.Join(w.Dir, name+".log"),
		settings: Settings{Options: w.Options, Route: route, ID: name, Journal: w.Journal},
	}
	return h, h.settings.write(h.config)
}

// Rewrite changes the host's configuration file; Reload or a start takes it.
func (h *Host) Rewrite(change func(*Settings)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.settings)
	return h.settings.write(h.config)
}

// Start starts the host and waits until it serves and its plugin is ready.
func (h *Host) Start(ctx context.Context) error {
	if err := h.launch(ctx); err != nil {
		return fmt.Errorf("start host %d: %w", h.Index, err)
	}
	return poll(ctx, 20*time.Millisecond, fmt.Sprintf("the plugin of host %d is ready", h.Index), func() (bool, error) {
		status, err := h.Status(ctx)
		if err != nil {
			return false, nil //nolint:nilerr // asked again until ctx ends
		}
		return len(status.Plugins) == 1 && status.Plugins[0].Ready >= h.Settings().Instances, nil
	})
}

// Settings are what the configuration file says.
func (h *Host) Settings() Settings {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.settings
}

// launch starts the process and waits until it serves.
func (h *Host) launch(ctx context.Context) error {
	log, err := os.OpenFile(h.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	begin, err := log.Seek(0, 2)
	if err != nil {
		return err
	}
	cmd := exec.Command(h.binary, "run", "--config", h.config)
	cmd.Stdout, cmd.Stderr = log, log
	if dir := h.Settings().TempDir; dir != "" {
		cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	}
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	h.mu.Lock()
	h.cmd, h.ended, h.client = cmd, ended, nil
	h.starts++
	h.mu.Unlock()
	return poll(ctx, 10*time.Millisecond, "it serves", func() (bool, error) {
		said, err := os.ReadFile(h.log)
		if err != nil {
			return false, err
		}
		if found := serves.FindSubmatch(said[begin:]); found != nil {
			client, err := admin.NewClient(string(found[1]), "")
			h.mu.Lock()
			h.client, h.addr = client, string(found[1])
			h.mu.Unlock()
			return true, err
		}
		select {
		case <-ended:
			return false, fmt.Errorf("it exited: %s", said[begin:])
		default:
			return false, nil
		}
	})
}

// Admin is the client of the host's admin endpoint; nil before it serves.
func (h *Host) Admin() *admin.Client {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.client
}

// AdminAddr is where the host's admin endpoint is, or was, as host:port.
func (h *Host) AdminAddr() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.addr
}

// Status asks the host.
func (h *Host) Status(ctx context.Context) (admin.Status, error) {
	client := h.Admin()
	if client == nil {
		return admin.Status{}, errors.New("the host does not serve")
	}
	return client.Status(ctx)
}

// Plugin asks the host for its one plugin.
func (h *Host) Plugin(ctx context.Context) (admin.Plugin, error) {
	status, err := h.Status(ctx)
	if err != nil {
		return admin.Plugin{}, err
	}
	if len(status.Plugins) != 1 {
		return admin.Plugin{}, fmt.Errorf("host %d has %d plugins", h.Index, len(status.Plugins))
	}
	return status.Plugins[0], nil
}

// PluginPIDs are the processes that serve, without those of probation. They are
// the handlers themselves, not their shims.
func (h *Host) PluginPIDs(ctx context.Context) ([]int, error) {
	plugin, err := h.Plugin(ctx)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, i := range plugin.Instances {
		if i.PID > 0 && !i.Probation {
			pids = append(pids, i.PID)
		}
	}
	return pids, nil
}

// PID is the host's process, or 0 when none runs.
func (h *Host) PID() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd == nil {
		return 0
	}
	select {
	case <-h.ended:
		return 0
	default:
		return h.cmd.Process.Pid
	}
}

// Starts is how often the host was started.
func (h *Host) Starts() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.starts
}

// Signal sends the process a signal. It is an error when none runs.
func (h *Host) Signal(signal syscall.Signal) error {
	pid := h.PID()
	if pid == 0 {
		return fmt.Errorf("host %d does not run", h.Index)
	}
	return syscall.Kill(pid, signal)
}

// Wait waits for the end of the process and returns its exit code, -1 when a
// signal ended it.
func (h *Host) Wait(ctx context.Context) (int, error) {
	h.mu.Lock()
	cmd, ended := h.cmd, h.ended
	h.mu.Unlock()
	if cmd == nil {
		return 0, fmt.Errorf("host %d was not started", h.Index)
	}
	select {
	case <-ended:
		return cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for the end of host %d: %w", h.Index, context.Cause(ctx))
	}
}

// Terminate sends SIGTERM and waits for the end, which must be an orderly one.
func (h *Host) Terminate(ctx context.Context) error {
	if err := h.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	code, err := h.Wait(ctx)
	if err == nil && code != 0 {
		err = fmt.Errorf("host %d exited with %d", h.Index, code)
	}
	return err
}

// Kill ends the process at once and waits until it is gone.
func (h *Host) Kill(ctx context.Context) error {
	if err := h.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	_, err := h.Wait(ctx)
	return err
}

// LogLines counts the lines of the host's log, of all its starts, that match.
func (h *Host) LogLines(pattern *regexp.Regexp) (int, error) {
	said, err := os.ReadFile(h.log)
	if err != nil {
		return 0, err
	}
	n := 0
	for line := range strings.Lines(string(said)) {
		if pattern.MatchString(line) {
			n++
		}
	}
	return n, nil
}
