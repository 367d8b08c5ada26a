package report

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/stephost/stephost/bench/suite/internal/suite"
)

// Machine is where a scenario ran, without any name or path.
type Machine struct {
	CPU        string   `json:"cpu"`
	Cores      int      `json:"cores"`
	MemoryGB   float64  `json:"memory_gb"`
	Kernel     string   `json:"kernel"`
	Filesystem string   `json:"filesystem"`
	PostgreSQL string   `json:"postgresql"`
	Settings   []string `json:"settings"`
	Go         string   `json:"go"`
	River      string   `json:"river"`
	Commit     string   `json:"commit"`
}

// Describe asks the machine and the server.
func Describe(ctx context.Context, env *suite.Env, commit string) (Machine, error) {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), Commit: commit, CPU: "unknown CPU"}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = field(string(text), "model name")
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kilobytes float64
		if _, err := fmt.Sscanf(field(string(text), "MemTotal"), "%f kB", &kilobytes); err == nil {
			m.MemoryGB = kilobytes / (1 << 20)
		}
	}
	if out, err := exec.CommandContext(ctx, "uname", "-sr").Output(); err == nil {
		m.Kernel = strings.TrimSpace(string(out))
	}
	m.Filesystem = filesystem(env.Postgres.Dir())
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/riverqueue/river" {
				m.River = dep.Version
			}
		}
	}
	err := m.server(ctx, env)
	return m, err
}

// server asks for the version and for what is not as PostgreSQL has it by
// default, places and names left out.
func (m *Machine) server(ctx context.Context, env *suite.Env) error {
	conn, err := env.Connect(ctx, env.Postgres.DSN("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, `SELECT current_setting('server_version'), name, current_setting(name) FROM pg_settings
		WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'shared_buffers', 'max_wal_size', 'wal_sync_method', 'autovacuum')
		   OR (source = 'command line' AND name NOT IN ('port', 'listen_addresses', 'unix_socket_directories', 'data_directory', 'logging_collector', 'config_file', 'hba_file', 'ident_file'))
		ORDER BY name`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&m.PostgreSQL, &name, &value); err != nil {
			return err
		}
		m.Settings = append(m.Settings, name+"="+value)
	}
	return rows.Err()
}

func field(text, name string) string {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

const inMemory = "tmpfs, in memory"

// InMemory says that the server's files are on no disk.
func (m Machine) InMemory() bool { return m.Filesystem == inMemory }

// filesystem names the kind of file system that a directory is on. One in memory
// makes durability cheap, and figures from it are not worth much.
func filesystem(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "unknown"
	}
	names := map[uint32]string{
		0xef53: "ext4", 0x58465342: "xfs", 0x9123683e: "btrfs", 0x794c7630: "overlay", 0x01021994: inMemory, 0x2fc12fc1: "zfs",
	}
	if name, ok := names[uint32(s.Type)]; ok { //nolint:gosec // a magic number
		return name
	}
	return fmt.Sprintf("%#x", s.Type)
}
