package config_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stephost/stephost/eventsystem"
	"github.com/stephost/stephost/host/config"
)

// keyCase sets one key to something else than its default.
type keyCase struct {
	field   string // path in Config, with Plugins[0] and Namespaces[0]
	hcl     string // block.block.key = value
	initial any
	changed any
}

func keyCases() []keyCase {
	s := time.Second
	return []keyCase{
		{"Host.ID", `host.id = "h"`, "test-host", "h"},
		{"Host.LogLevel", `host.log_level = "debug"`, "info", "debug"},
		{"Host.LogFormat", `host.log_format = "json"`, "text", "json"},
		{"Host.Admin.Listen", `host.admin.listen = ""`, "127.0.0.1:7420", ""},
		{"Host.Admin.Token", `host.admin.token = "t"`, config.Secret(""), config.Secret("t")},
		{"Host.Shutdown.DrainTimeout", `host.shutdown.drain_timeout = "1s"`, 20 * s, s},
		{"Host.Shutdown.KillTimeout", `host.shutdown.kill_timeout = "1s"`, 5 * s, s},
		{"Queue.DSN", `queue.dsn = env("SECRET")`, config.Secret(""), config.Secret(hidden)},
		{"Queue.ListenDSN", `queue.listen_dsn = env("NONE", "b")`, config.Secret(""), config.Secret("b")},
		{"Queue.QueueName", `queue.queue_name = "worker_{namespace}_queue"`, "{namespace}_queue", "worker_{namespace}_queue"},
		{"Queue.Notifications", `queue.notifications = "tasker"`, "auto", "tasker"},
		{"Queue.OnComplete", `queue.on_complete = "delete"`, "archive", "delete"},
		{"Queue.MaxConnections", `queue.pool.max_connections = 3`, 8, 3},
		{"Queue.Archive.Retain", `queue.archive.retain = "1d12h"`, time.Duration(0), 36 * time.Hour},
		{"Queue.Archive.MaxRows", `queue.archive.max_rows = 7`, int64(0), int64(7)},
		{"Queue.Archive.MaxSize", `queue.archive.max_size = "1KiB"`, int64(0), int64(1024)},
		{"EventSystem.SystemID", `event_system.system_id = "x"`, "worker-event-system", "x"},
		{"EventSystem.DeploymentMode", `event_system.deployment_mode = "PollingOnly"`, eventsystem.Hybrid, eventsystem.PollingOnly},
		{"EventSystem.HealthMonitoringEnabled", `event_system.health_monitoring_enabled = false`, true, false},
		{"EventSystem.HealthCheckInterval", `event_system.health_check_interval = "1s"`, 30 * s, s},
		{"EventSystem.MaxConcurrentProcessors", `event_system.max_concurrent_processors = 7`, 200, 7},
		{"EventSystem.ProcessingTimeout", `event_system.processing_timeout = "1s"`, s / 10, s},
		{"EventSystem.Listener.Enabled", "event_system.deployment_mode = \"PollingOnly\"\nevent_system.listener.enabled = false", true, false},
		{"EventSystem.Listener.BatchProcessing", `event_system.listener.batch_processing = false`, true, false},
		{"EventSystem.Listener.ConnectionTimeout", `event_system.listener.connection_timeout = "2s"`, 10 * s, 2 * s},
		{"EventSystem.Listener.RetryInterval", `event_system.listener.retry_interval = "2s"`, s, 2 * s},
		{"EventSystem.Listener.SafetySweep", `event_system.listener.safety_sweep = "2s"`, 60 * s, 2 * s},
		{"EventSystem.FallbackPoller.Enabled", "event_system.deployment_mode = \"EventDrivenOnly\"\nevent_system.fallback_poller.enabled = false", true, false},
		{"EventSystem.FallbackPoller.PollingInterval", `event_system.fallback_poller.polling_interval = "2s"`, 5 * s, 2 * s},
		{"EventSystem.FallbackPoller.BatchSize", `event_system.fallback_poller.batch_size = 9`, 100, 9},
		{"EventSystem.FallbackPoller.VisibilityTimeout", `event_system.fallback_poller.visibility_timeout = "2s"`, 30 * s, 2 * s},
		{"EventSystem.Buffers.Events", `event_system.buffers.events = 9`, 1024, 9},
		{"EventSystem.Buffers.Settlements", `event_system.buffers.settlements = 9`, 4096, 9},
		{"EventSystem.Buffers.Bytes", `event_system.buffers.bytes = "1KiB"`, int64(64 << 20), int64(1024)},
		{"Plugins.Command", `plugin.command = "/b"`, "/a", "/b"},
		{"Plugins.Args", `plugin.args = ["-x"]`, []string(nil), []string{"-x"}},
		{"Plugins.SHA256", `plugin.sha256 = "` + strings.Repeat("AB", 32) + `"`, "", strings.Repeat("ab", 32)},
		{"Plugins.Env", `plugin.env = { A = "b", C = env("UNSET") }`, map[string]config.Secret(nil), map[string]config.Secret{"A": "b"}},
		{"Plugins.EnvFrom", `plugin.env_from = ["A"]`, []string(nil), []string{"A"}},
		{"Plugins.CWD", `plugin.cwd = "b"`, "", "/b"},
		{"Plugins.User", `plugin.user = "nobody"`, "", "nobody"},
		{"Plugins.Group", `plugin.group = "5"`, "", "5"},
		{"Plugins.Limits.CPUs", `plugin.limits.cpus = 1.5`, 0.0, 1.5},
		{"Plugins.Limits.Memory", `plugin.limits.memory = "256MiB"`, int64(0), int64(256 << 20)},
		{"Plugins.Limits.OpenFiles", `plugin.limits.open_files = 64`, 0, 64},
		{"Plugins.Limits.Processes", `plugin.limits.processes = 65`, 0, 65},
		{"Plugins.Limits.FileSize", `plugin.limits.file_size = "1MiB"`, int64(0), int64(1 << 20)},
		{"Plugins.Limits.Core", `plugin.limits.core = 0`, (*int64)(nil), new(int64)},
		{"Plugins.Limits.Cgroup", `plugin.limits.cgroup = "auto"`, "off", "auto"},
		{"Plugins.Instances", `plugin.instances = 2`, 1, 2},
		{"Plugins.TLS", `plugin.tls = "off"`, "auto", "off"},
		{"Plugins.Watch", `plugin.watch = true`, false, true},
		{"Plugins.Swap", `plugin.swap = "stop_first"`, "overlap", "stop_first"},
		{"Plugins.Restart.BackoffInitial", `plugin.restart.backoff_initial = "1s"`, s / 2, s},
		{"Plugins.Restart.BackoffMax", `plugin.restart.backoff_max = "1s"`, 30 * s, s},
		{"Plugins.Restart.MaxCrashes", `plugin.restart.max_crashes = 1`, 5, 1},
		{"Plugins.Restart.Window", `plugin.restart.window = "1s"`, 120 * s, s},
		{"Namespaces.Plugin", `namespace.plugin = "q"`, "p", "q"},
		{"Namespaces.Queue", `namespace.queue = "q"`, "n_queue", "q"},
		{"Namespaces.Concurrency", `namespace.concurrency = env("FIFTEEN", "15")`, 50, 15},
		{"Namespaces.Timeout", `namespace.timeout = "0s"`, 20 * s, 0 * s},
		{"Namespaces.StepKey", `namespace.step_key = "k"`, "step", "k"},
		{"Namespaces.ResultQueue", `namespace.result_queue = "r"`, "", "r"},
		{"Namespaces.DeadLetter", `namespace.dead_letter = "d"`, "n_dead", "d"},
		{"Namespaces.DeadLetterRetain", `namespace.dead_letter_retain = "90d"`, time.Duration(0), 90 * 24 * time.Hour},
		{"Namespaces.Archive.Retain", `namespace.archive.retain = "36h"`, time.Duration(0), 36 * time.Hour},
		{"Namespaces.Archive.MaxRows", `namespace.archive.max_rows = 7`, int64(0), int64(7)},
		{"Namespaces.Archive.MaxSize", `namespace.archive.max_size = "1KiB"`, int64(0), int64(1024)},
		{"Namespaces.Retry.MaxAttempts", `namespace.retry.max_attempts = 1`, 5, 1},
		{"Namespaces.Retry.MaxDeliveries", `namespace.retry.max_deliveries = 1`, 20, 1},
		{"Namespaces.Retry.MaxCrashes", `namespace.retry.max_crashes = 1`, 3, 1},
		{"Namespaces.Retry.Backoff", `namespace.retry.backoff = "fixed"`, config.BackoffExponential, config.BackoffFixed},
		{"Namespaces.Retry.Initial", `namespace.retry.initial = "2s"`, s, 2 * s},
		{"Namespaces.Retry.Max", `namespace.retry.max = "2s"`, 60 * s, 2 * s},
		{"Namespaces.Retry.Jitter", `namespace.retry.jitter = 0.5`, 0.1, 0.5},
	}
}

// notKeys are fields that no key sets.
var notKeys = map[string]bool{
	"Queue.Kind": true, "Plugins.Name": true, "Namespaces.Name": true, "Files": true, "written": true,
	"Plugins.Body": true, "Plugins.Package": true, "Plugins.EvalContext": true, "Plugins.DeclRange": true,
	"Plugins.ConfigRange": true, "Plugins.CommandRange": true, "Namespaces.DeclRange": true,
}

func TestEveryKeyChangesItsValue(t *testing.T) {
	t.Parallel()
	covered := map[string]bool{}
	for _, c := range keyCases() {
		covered[c.field] = true
		t.Run(c.field, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.initial, field(parse(t, ""), c.field))
			require.Equal(t, c.changed, field(parse(t, c.hcl), c.field))

			name, _, _ := strings.Cut(c.hcl[strings.LastIndex(c.hcl, "\n")+1:], " = ")
			if name != "plugin.command" && name != "namespace.plugin" {
				require.Equal(t, c.initial, field(parse(t, name+" = null"), c.field), "null must mean the default")
			}
		})
	}
	for _, path := range leaves(reflect.TypeFor[config.Config](), "") {
		require.True(t, covered[path] || notKeys[path], "no case for %s", path)
	}
}

// parse reads a file with one plugin and one namespace, and the keys of the
// lines.
func parse(t *testing.T, lines string) *config.Config {
	t.Helper()
	tree := map[string][]string{}
	if !strings.Contains(lines, "plugin.command") {
		tree["plugin"] = append(tree["plugin"], `command = "/a"`)
	}
	if !strings.Contains(lines, "namespace.plugin") {
		tree["namespace"] = append(tree["namespace"], `plugin = "p"`)
	}
	for line := range strings.SplitSeq(lines, "\n") {
		name, val, ok := strings.Cut(line, " = ")
		if !ok {
			continue
		}
		parts := strings.Split(name, ".")
		text := parts[len(parts)-1] + " = " + val
		if len(parts) == 3 {
			text = parts[1] + " {\n" + text + "\n}"
		}
		tree[parts[0]] = append(tree[parts[0]], text)
	}
	labels := map[string]string{"queue": ` "pgmq"`, "plugin": ` "p"`, "namespace": ` "n"`}
	src := "plugin \"q\" {\n  command = \"/q\"\n}\n"
	for _, name := range []string{"host", "queue", "event_system", "plugin", "namespace"} {
		body := strings.Join(tree[name], "\n")
		if name == "plugin" {
			src = fmt.Sprintf("plugin \"p\" {\n%s\n}\n%s", body, src)
			continue
		}
		src += fmt.Sprintf("%s%s {\n%s\n}\n", name, labels[name], body)
	}
	cfg, diags := config.Parse("/test.hcl", []byte(src), append(testOptions(), config.WithFileChecks(false))...)
	require.Empty(t, diags, src)
	return cfg
}

func field(cfg *config.Config, path string) any {
	v := reflect.ValueOf(cfg).Elem()
	for name := range strings.SplitSeq(path, ".") {
		v = v.FieldByName(name)
		if name == "Plugins" || name == "Namespaces" {
			v = v.Index(0)
		}
	}
	return v.Interface()
}

func leaves(typ reflect.Type, prefix string) []string {
	var paths []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		inner := f.Type
		if f.Name == "Plugins" || f.Name == "Namespaces" {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner.PkgPath() == typ.PkgPath() {
			paths = append(paths, leaves(inner, prefix+f.Name+".")...)
			continue
		}
		paths = append(paths, prefix+f.Name)
	}
	return paths
}
