package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stephost/stephost/host"
	"github.com/stephost/stephost/host/admin"
	"github.com/stephost/stephost/host/config"
	"github.com/stephost/stephost/host/supervisor/shim"
	"github.com/stephost/stephost/internal/checkup"
	"github.com/stephost/stephost/plugin/sdk"
)

// The test binary is the shim and the plugin too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shim.Command {
		os.Exit(shim.Main(os.Args[2:]))
	}
	if version := os.Getenv("DOCTOR_TEST_PLUGIN"); version != "" {
		sdk.Main(sdk.Version(version), sdk.Handle("charge", func(context.Context, struct{}) (any, error) { return nil, nil }, sdk.Default()))
		return
	}
	goleak.VerifyTestMain(m)
}

// file is a configuration that can be changed as a finding says.
type file struct {
	t    *testing.T
	path string
	text string
}

func write(t *testing.T, text string) *file {
	t.Helper()
	f := &file{t: t, path: filepath.Join(t.TempDir(), "test.hcl")}
	f.append(text)
	return f
}

func (f *file) append(text string) {
	f.t.Helper()
	f.text += text + "\n"
	require.NoError(f.t, os.WriteFile(f.path, []byte(f.text), 0o600))
}

// examine makes one check. There is no database.
func (f *file) examine(check string, change ...func(*Options)) []Finding {
	f.t.Helper()
	opts := Options{Host: host.Options{
		Logger: hclog.NewNullLogger(), Version: "1.2.3",
		ShimCommand: []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", os.Args[0], shim.Command},
	}}
	opts.Config, opts.Diagnostics = config.Load(f.path, config.WithFileChecks(false))
	for _, c := range change {
		c(&opts)
	}
	var found []Finding
	for _, finding := range Examine(f.t.Context(), opts) {
		if finding.Check == check {
			found = append(found, finding)
		}
	}
	require.NotEmpty(f.t, found)
	return found
}

func (f *file) one(check string, change ...func(*Options)) Finding {
	f.t.Helper()
	found := f.examine(check, change...)
	require.Len(f.t, found, 1, "%+v", found)
	return found[0]
}

func withoutPlugins(o *Options) { o.SkipPlugins = true }

const queueBlock = `queue "pgmq" { dsn = "postgres://nowhere" }`

func TestConfigThatIsNotValid(t *testing.T) {
	t.Parallel()
	f := write(t, "queue \"pgmq\" {\n  dsn    = \"postgres://me:hunter2@there\"\n  colour = \"red\"\n}")
	finding := f.one("config")
	require.Equal(t, checkup.Error, finding.Severity)
	require.Contains(t, finding.Seen, "Unsupported argument at "+f.path+":3,3")
	require.Contains(t, finding.Fixes[0].Text, "colour")
	require.NotContains(t, fmt.Sprint(f.examine("connection")), "hunter2")
	for _, check := range []string{"namespaces", "programs", "plugins"} {
		require.Equal(t, checkup.Skipped, f.one(check).Severity, check)
	}
	require.Equal(t, checkup.Error, f.one("connection").Severity, "what a file that is not valid says is not relied on")
	require.Equal(t, checkup.Skipped, f.one("config", func(o *Options) { o.Config, o.Diagnostics = nil, nil }).Severity)
}

func TestPluginWithoutNamespace(t *testing.T) {
	t.Parallel()
	f := write(t, queueBlock+"\nplugin \"idle\" { command = \"/bin/sh\" }")
	finding := f.one("namespaces", withoutPlugins)
	require.Equal(t, checkup.Warning, finding.Severity)
	require.Contains(t, finding.Seen, `plugin "idle" at `+f.path+`:2,1 has no namespace`)
	f.append(finding.Fixes[0].Text)
	require.Equal(t, checkup.OK, f.one("namespaces", withoutPlugins).Severity)
}

func TestPrograms(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "it's here")
	require.NoError(t, os.Mkdir(dir, 0o755))
	path := filepath.Join(dir, "program")
	f := write(t, fmt.Sprintf("%s\nplugin \"orders\" { command = %q }\nplugin \"dir\" { command = %q }", queueBlock, path, dir))
	found := f.examine("programs", withoutPlugins)
	require.Len(t, found, 2)
	require.Contains(t, found[0].Seen, "no such file")
	require.Contains(t, found[1].Seen, "is a directory")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o644))
	found = f.examine("programs", withoutPlugins)
	require.Contains(t, found[0].Seen, "is not executable")
	require.Equal(t, checkup.Command, found[0].Fixes[0].Kind)
	out, err := exec.Command("/bin/sh", "-c", found[0].Fixes[0].Text).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Len(t, f.examine("programs", withoutPlugins), 1)
}

// self is a plugin block for this very program.
func self(t *testing.T, more string) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return fmt.Sprintf("%s\nplugin \"orders\" {\n  command = %q\n  env = { DOCTOR_TEST_PLUGIN = \"2.0\", GORACE = \"atexit_sleep_ms=0\" }\n  %s\n}\nnamespace \"orders\" { plugin = \"orders\" }", queueBlock, path, more)
}

func running(change func(*admin.Status)) func(*Options) {
	status := admin.Status{
		Host: admin.Host{ID: "h1", Version: "1.2.3", PID: 17}, Health: admin.Health{Status: "Healthy"},
		Listener:   admin.Listener{Running: true, Connected: true},
		Namespaces: []admin.Namespace{{Name: "orders", Plugin: "orders"}},
		Plugins:    []admin.Plugin{{Name: "orders", Version: "2.0", State: "ready", Ready: 1}},
	}
	change(&status)
	return func(o *Options) {
		o.Status = func(context.Context) (admin.Status, error) { return status, nil }
	}
}

func unchanged(*admin.Status) {}

func TestPluginsAreTried(t *testing.T) {
	t.Parallel()
	f := write(t, self(t, ""))
	require.Equal(t, checkup.OK, f.one("plugins").Severity)
	require.Equal(t, checkup.OK, f.one("plugins", running(unchanged)).Severity)
	old := f.one("plugins", running(func(s *admin.Status) { s.Plugins[0].Version = "1.9" }))
	require.Equal(t, checkup.Warning, old.Severity)
	require.Contains(t, old.Seen, `the host runs version 1.9 of plugin "orders", and the program is version 2.0`)
	require.Equal(t, "stephost plugin reload orders", old.Fixes[0].Text)

	exclusive := write(t, self(t, `swap = "stop_first"`))
	require.Equal(t, checkup.OK, exclusive.one("plugins").Severity)
	skipped := exclusive.one("plugins", running(unchanged))
	require.Equal(t, checkup.Skipped, skipped.Severity)
	require.Contains(t, skipped.Seen, "must not run twice")

	broken := write(t, queueBlock+"\nplugin \"orders\" {\n  command = \"/bin/false\"\n}\nnamespace \"orders\" { plugin = \"orders\" }")
	failed := broken.one("plugins")
	require.Equal(t, checkup.Error, failed.Severity)
	require.Contains(t, failed.Seen, `Plugin "orders" does not start`)
	require.Equal(t, "stephost plugin check '/bin/false'", failed.Fixes[1].Text)
	require.Equal(t, checkup.Skipped, broken.one("plugins", withoutPlugins).Severity)
}

func TestRunningHost(t *testing.T) {
	t.Parallel()
	f := write(t, self(t, ""))
	require.Contains(t, f.one("host", withoutPlugins, running(unchanged)).Seen, "host h1, version 1.2.3, Healthy")
	for name, c := range map[string]struct {
		change   func(*admin.Status)
		severity checkup.Severity
		seen     string
		fix      string
	}{
		"another version": {func(s *admin.Status) { s.Host.Version = "1.2.2" }, checkup.Warning, "version 1.2.2, and this program is version 1.2.3", "kill -TERM 17"},
		"critical": {func(s *admin.Status) {
			s.Health = admin.Health{Status: admin.HealthCritical, Reasons: []string{"no database"}}
		}, checkup.Error, "Critical: no database", "stephost status"},
		"degraded": {func(s *admin.Status) { s.Health = admin.Health{Status: "Degraded", Reasons: []string{"polls fail"}} }, checkup.Warning, "Degraded: polls fail", "stephost status"},
		"deaf":     {func(s *admin.Status) { s.Listener = admin.Listener{Running: true, LastError: "swallowed"} }, checkup.Warning, "not connected: swallowed", `"listen"`},
		"paused":   {func(s *admin.Status) { s.Namespaces[0].Paused = true }, checkup.Warning, `namespace "orders" is paused`, "stephost namespace resume orders"},
		"blocked":  {func(s *admin.Status) { s.Namespaces[0].Blocked = "no plugin" }, checkup.Error, "takes no messages: no plugin", "stephost plugin list"},
		"tripped": {func(s *admin.Status) {
			s.Plugins[0].State, s.Plugins[0].Reason, s.Plugins[0].Ready = "tripped", "crashed 5 times", 0
		}, checkup.Error, "is tripped: crashed 5 times", "stephost plugin reset orders"},
		"half ready": {func(s *admin.Status) { s.Plugins[0].State, s.Plugins[0].Reason = "backing-off", "crashed" }, checkup.Warning, "is backing-off: crashed", "stephost plugin reset orders"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := f.one("host", withoutPlugins, running(c.change))
			require.Equal(t, c.severity, found.Severity)
			require.Contains(t, found.Seen, c.seen)
			require.Contains(t, found.Fixes[0].Text, c.fix)
			require.NotEmpty(t, found.Why)
		})
	}
	failing := func(err error) func(*Options) {
		return func(o *Options) {
			o.Status = func(context.Context) (admin.Status, error) { return admin.Status{}, err }
		}
	}
	require.Contains(t, f.one("host", withoutPlugins, failing(&admin.UnreachableError{Addr: "there", Err: errors.New("no")})).Seen, "no host answers at there")
	refused := f.one("host", withoutPlugins, failing(&admin.APIError{Code: 401}))
	require.Equal(t, checkup.Warning, refused.Severity)
	require.Contains(t, refused.Fixes[0].Text, "STEPHOST_ADMIN_TOKEN")
}

func TestMachine(t *testing.T) {
	t.Parallel()
	require.Empty(t, temporary(t.TempDir()))
	long := temporary("/" + strings.Repeat("x", 80))
	require.Contains(t, long[0].Seen, "is too long")
	require.Equal(t, "export TMPDIR=/tmp", long[0].Fixes[0].Text)
	gone := temporary(filepath.Join(t.TempDir(), "gone"))
	require.Contains(t, gone[0].Seen, "cannot be written to")
	require.Empty(t, openFiles(1024, 300))
	require.Contains(t, openFiles(256, 300)[0].Seen, "256 open files are allowed, and this configuration may need 300")
}
