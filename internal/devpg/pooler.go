package devpg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrNoPooler says that PgBouncer is not installed.
var ErrNoPooler = errors.New("pgbouncer not found: install it (Debian, Ubuntu: apt-get install pgbouncer)")

// PoolerOptions are what StartPooler needs to know. The zero value will do.
type PoolerOptions struct {
	// Connections is how many connections the pooler makes to each database of
	// the server; default 20. Clients beyond them wait for a transaction's end.
	Connections int
	// Settings are added to the section [pgbouncer] of its configuration.
	Settings map[string]string
}

// Pooler is a PgBouncer in transaction mode before a cluster. It is safe for
// concurrent use.
type Pooler struct {
	program string
	as      account
	dir     string
	port    int
	dog     *watchdog

	mu  sync.Mutex
	run *exec.Cmd // nil when none runs
}

// StartPooler starts a PgBouncer before the cluster, on 127.0.0.1 and for every
// database, and returns when it accepts connections. Whoever connects is taken
// for the superuser. Its connections lead to the cluster by TCP. The error is
// ErrNoPooler where PgBouncer is not installed. The caller stops the pooler; it
// does not outlive this process.
func (c *Cluster) StartPooler(ctx context.Context, opts PoolerOptions) (_ *Pooler, err error) {
	p := &Pooler{as: c.as}
	if p.program, err = findPooler(); err != nil {
		return nil, err
	}
	if p.dir, err = tempDir(c.as); err != nil {
		return nil, err
	}
	if p.dog, err = startWatchdog("KILL", p.dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.dir))
	}
	if p.port, err = freePort(); err == nil {
		err = p.configure(c, opts)
	}
	if err == nil {
		err = p.Restart(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// findPooler also looks where Debian has it, which not every PATH names.
func findPooler() (string, error) {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoPooler
}

func (p *Pooler) file(name string) string { return filepath.Join(p.dir, name) }

// configure writes the pooler's file, which its user alone can read: it has the
// server's password.
func (p *Pooler) configure(c *Cluster, opts PoolerOptions) error {
	if opts.Connections <= 0 {
		opts.Connections = 20
	}
	var text strings.Builder
	fmt.Fprintf(&text, "[databases]\n* = host=127.0.0.1 port=%d user=%s password=%s\n[pgbouncer]\n", c.port, superuser, c.password)
	for _, setting := range []string{
		"listen_addr = 127.0.0.1",
		"listen_port = " + strconv.Itoa(p.port),
		"unix_socket_dir =",
		"auth_type = any",
		"pool_mode = transaction",
		"max_client_conn = 1000",
		"default_pool_size = " + strconv.Itoa(opts.Connections),
		// A server that comes back is found soon.
		"server_login_retry = 1",
	} {
		text.WriteString(setting + "\n")
	}
	for name, value := range opts.Settings {
		text.WriteString(name + " = " + value + "\n")
	}
	if err := os.WriteFile(p.file("pgbouncer.ini"), []byte(text.String()), 0o600); err != nil {
		return err
	}
	return p.as.own(p.file("pgbouncer.ini"))
}

// Addr is the host and port of the pooler; they stay the same across restarts.
func (p *Pooler) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }

// DSN returns the URL of a database through the pooler.
func (p *Pooler) DSN(database string) string {
	return (&url.URL{
		Scheme: "postgres", User: url.User(superuser), Host: p.Addr(), Path: "/" + database, RawQuery: "sslmode=disable",
	}).String()
}

// Restart kills the pooler, if it runs, and starts it on the same address. Its
// clients are cut off.
func (p *Pooler) Restart(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kill()
	logFile, err := os.OpenFile(p.file("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	cmd := exec.Command(p.program, p.file("pgbouncer.ini"))
	cmd.Dir = p.dir
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = p.as.process()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start pgbouncer: %w", err)
	}
	p.run = cmd
	if err := p.dog.watch(cmd.Process.Pid); err != nil {
		return err
	}
	if err := p.waitReady(ctx); err != nil {
		p.kill()
		return fmt.Errorf("start pgbouncer: %w; its log says: %s", err, p.LogTail(5))
	}
	return nil
}

// LogTail returns the last lines of the pooler's log.
func (p *Pooler) LogTail(lines int) string { return lastLines(logSince(p.file("log"), 0), lines) }

func (p *Pooler) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		var dialer net.Dialer
		if conn, err := dialer.DialContext(ctx, "tcp", p.Addr()); err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// kill ends the process; it keeps nothing that would have to be saved. The
// caller holds mu.
func (p *Pooler) kill() {
	if p.run == nil {
		return
	}
	_ = p.run.Process.Signal(syscall.SIGKILL)
	_ = p.run.Wait()
	_ = p.dog.watch(0)
	p.run = nil
}

// Stop ends the pooler for good.
func (p *Pooler) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kill()
	if p.dog == nil {
		return nil
	}
	dog := p.dog
	p.dog = nil
	return dog.release()
}
