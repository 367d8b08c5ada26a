package devpg

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

const superuser = "postgres"

// Options are what Start needs to know.
type Options struct {
	// Dir is where a cluster that is kept has its files. Start makes it. When
	// the caller is root the files are elsewhere; see Cluster.Dir.
	Dir string
	// Ephemeral makes a cluster in a temporary directory, without the cost of
	// durability, that is removed when it stops. It takes no Dir.
	Ephemeral bool
	// Settings are added to the server's configuration.
	Settings map[string]string
	// Environment is added to the server's environment, as NAME=value.
	Environment []string
	// StandbyOf makes an ephemeral cluster a copy of another one that follows it,
	// as a hot standby, until it is promoted.
	StandbyOf *Cluster
	// Logger may be nil.
	Logger hclog.Logger
}

// Cluster is a PostgreSQL server that belongs to this process. It is safe for
// concurrent use.
type Cluster struct {
	bin       binaries
	as        account
	files     layout
	ephemeral bool
	settings  []string
	env       []string
	port      int
	password  string
	log       hclog.Logger
	lock      *os.File
	dog       *watchdog

	mu     sync.Mutex
	server *server // nil when none runs
	closed bool
}

// Start starts the cluster of a directory, or an ephemeral one, and returns
// when it accepts connections. It gives up when ctx ends, and after two minutes
// in any case. The error is a *NotFoundError without PostgreSQL's binaries and
// an *InUseError when another process runs this cluster.
func Start(ctx context.Context, opts Options) (_ *Cluster, err error) {
	if opts.Ephemeral == (opts.Dir != "") {
		return nil, errors.New("a cluster has a directory or is ephemeral")
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c := &Cluster{ephemeral: opts.Ephemeral, env: append(environment(), opts.Environment...), log: opts.Logger}
	if c.log == nil {
		c.log = hclog.NewNullLogger()
	}
	if c.as, err = serverAccount(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if err = c.prepare(ctx, opts); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		if c.port, err = freePort(); err != nil {
			return nil, err
		}
		c.settings = c.serverSettings(opts.Settings)
		c.server, err = startServer(ctx, c.bin, c.as, c.files, c.settings, c.env, c.dog)
		if err == nil {
			c.log.Debug("postgres is ready", "dir", c.files.base, "port", c.port, "pid", c.server.pid)
			return c, nil
		}
		if !errors.Is(err, errPortTaken) || attempt == 5 {
			return nil, err
		}
	}
}

// prepare makes everything that the server needs but the server.
func (c *Cluster) prepare(ctx context.Context, opts Options) (err error) {
	signals := "INT QUIT KILL"
	var remove []string
	if opts.Ephemeral {
		c.files.base, err = tempDir(c.as)
		signals, remove = "QUIT KILL", []string{c.files.base}
	} else if c.files.base, err = persistentBase(opts.Dir, c.as); err == nil {
		err = c.as.mkdir(c.files.base)
	}
	if err != nil {
		return err
	}
	if c.lock, err = acquireLock(c.files); err != nil {
		return err
	}
	if c.files.sockets, err = tempDir(c.as); err != nil {
		return err
	}
	if c.dog, err = startWatchdog(signals, append(remove, c.files.sockets)...); err != nil {
		return err
	}
	if err = clearStale(ctx, c.files); err != nil {
		return err
	}
	if err = c.initialize(ctx, opts.StandbyOf); err != nil {
		return err
	}
	password, err := os.ReadFile(c.files.password())
	if err != nil {
		return fmt.Errorf("read the cluster's password: %w", err)
	}
	c.password = string(password)
	return nil
}

// initialize finds the binaries that the data needs and makes the data if
// there is none.
func (c *Cluster) initialize(ctx context.Context, primary *Cluster) error {
	major, err := dataVersion(c.files.data())
	if err != nil {
		return fmt.Errorf("read the version of %s: %w", c.files.data(), err)
	}
	if c.bin, err = findBinaries(major); err != nil || major > 0 {
		return err
	}
	if primary != nil {
		return copyPrimary(ctx, c.bin, c.as, c.files.base, primary)
	}
	if c.ephemeral {
		return copyInitialized(ctx, c.bin, c.as, c.files.base)
	}
	c.log.Info("making a database cluster", "dir", c.files.base)
	return initialize(ctx, c.bin, c.as, c.files.base, true)
}

// serverSettings returns the settings as name=value, the caller's last.
func (c *Cluster) serverSettings(extra map[string]string) []string {
	settings := []string{
		"port=" + strconv.Itoa(c.port),
		"listen_addresses=127.0.0.1",
		"unix_socket_directories=" + c.files.sockets,
		"logging_collector=off",
		"max_connections=300",
	}
	if c.ephemeral {
		// Only a crash of the machine needs these; a crash of the server alone
		// recovers without.
		settings = append(settings, "fsync=off", "full_page_writes=off")
	}
	names := make([]string, 0, len(extra))
	for name := range extra {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		settings = append(settings, name+"="+extra[name])
	}
	return settings
}

// Dir is where the cluster's files are.
func (c *Cluster) Dir() string { return c.files.base }

// DSN returns the URL of a database by the unix socket, as superuser. The
// socket is in a directory that only the server's user and root can enter.
func (c *Cluster) DSN(database string) string {
	query := url.Values{"host": {c.files.sockets}, "port": {strconv.Itoa(c.port)}}
	return (&url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/" + database, RawQuery: query.Encode()}).String()
}

// TCPDSN returns the URL of a database by 127.0.0.1, as superuser with its
// password.
func (c *Cluster) TCPDSN(database string) string {
	return (&url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, c.password),
		Host:     c.Addr(),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}).String()
}

// Addr is the host and port of the server; they stay the same across restarts.
func (c *Cluster) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)) }

// Pid is the server's process id, or 0 when none runs.
func (c *Cluster) Pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return 0
	}
	return c.server.pid
}

// LogTail returns the last lines of the server's log, at most 64 KiB of them.
func (c *Cluster) LogTail(lines int) string {
	return lastLines(logSince(c.files.log(), 0), lines)
}

// Stop ends the cluster for good: open transactions are rolled back and
// clients are disconnected. When ctx ends first, the server is stopped
// harshly. Stopping again does nothing.
func (c *Cluster) Stop(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	c.end(ctx, syscall.SIGINT)
	return c.close()
}

// Crash ends the server without a shutdown, as a failing process would. The
// data stays: Restart recovers it.
func (c *Cluster) Crash() {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c.end(ctx, syscall.SIGQUIT)
}

// Restart stops the server, if it runs, and starts it on the same addresses.
func (c *Cluster) Restart(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.New("restart postgres: the cluster is stopped")
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c.end(ctx, syscall.SIGINT)
	var err error
	c.server, err = startServer(ctx, c.bin, c.as, c.files, c.settings, c.env, c.dog)
	if err != nil {
		return fmt.Errorf("restart postgres: %w", err)
	}
	return nil
}

// end stops the server that runs, if any. The caller holds mu.
func (c *Cluster) end(ctx context.Context, signal syscall.Signal) {
	if c.server != nil {
		c.server.stop(ctx, signal)
		c.server = nil
	}
}

// close gives back all that prepare took.
func (c *Cluster) close() error {
	var errs []error
	if c.dog != nil {
		errs = append(errs, c.dog.release())
	} else {
		errs = append(errs, c.removeTemporary())
	}
	if c.lock != nil {
		errs = append(errs, c.lock.Close())
	}
	return errors.Join(errs...)
}

// removeTemporary does the watchdog's last duty where there is none yet.
func (c *Cluster) removeTemporary() error {
	var errs []error
	if c.files.sockets != "" {
		errs = append(errs, os.RemoveAll(c.files.sockets))
	}
	if c.ephemeral && c.files.base != "" {
		errs = append(errs, os.RemoveAll(c.files.base))
	}
	return errors.Join(errs...)
}

// freePort returns a port that nobody listens on, below the range from which
// the system gives out ports by itself: so it is still free after a restart.
func freePort() (int, error) {
	var errs []string
	for range 100 {
		port := 20000 + rand.IntN(12000)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, listener.Close()
		}
		errs = append(errs, err.Error())
	}
	return 0, errors.New("find a free port: " + strings.Join(errs[:3], "; "))
}
