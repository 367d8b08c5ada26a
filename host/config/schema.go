package config

import (
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/stephost/stephost/eventsystem"
)

// defaults returns a configuration in which every key outside plugin and
// namespace blocks has its default, except host.id.
func defaults() Config {
	return Config{
		Host: Host{
			LogLevel: "info", LogFormat: "text",
			Admin:    Admin{Listen: "127.0.0.1:7420"},
			Shutdown: Shutdown{DrainTimeout: 20 * time.Second, KillTimeout: 5 * time.Second},
		},
		Queue: Queue{
			Kind: "pgmq", QueueName: "{namespace}_queue",
			Notifications: "auto", OnComplete: "archive", MaxConnections: 8,
		},
		EventSystem: EventSystem{
			SystemID: "worker-event-system", DeploymentMode: eventsystem.Hybrid,
			HealthMonitoringEnabled: true, HealthCheckInterval: 30 * time.Second,
			MaxConcurrentProcessors: 200, ProcessingTimeout: 100 * time.Millisecond,
			Listener: Listener{
				Enabled: true, BatchProcessing: true, ConnectionTimeout: 10 * time.Second,
				RetryInterval: time.Second, SafetySweep: time.Minute,
			},
			FallbackPoller: FallbackPoller{
				Enabled: true, PollingInterval: 5 * time.Second, BatchSize: 100, VisibilityTimeout: 30 * time.Second,
			},
			Buffers: Buffers{Events: 1024, Settlements: 4096, Bytes: 64 << 20},
		},
	}
}

func defaultPlugin(name string) *Plugin {
	return &Plugin{Name: name, Instances: 1, TLS: "auto", Swap: "overlap", Restart: Restart{
		BackoffInitial: 500 * time.Millisecond, BackoffMax: 30 * time.Second, MaxCrashes: 5, Window: 2 * time.Minute,
	}, Limits: Limits{Cgroup: "off"}}
}

// defaultNamespace leaves Queue, DeadLetter and Archive to resolve.
func defaultNamespace(name string) *Namespace {
	return &Namespace{Name: name, Concurrency: 50, Timeout: 20 * time.Second, StepKey: "step", Retry: Retry{
		MaxAttempts: 5, MaxDeliveries: 20, MaxCrashes: 3,
		Backoff: BackoffExponential, Initial: time.Second, Max: time.Minute, Jitter: 0.1,
	}, Archive: Archive{Retain: inherited, MaxRows: inherited, MaxSize: inherited}}
}

func hostSection(h *Host) *section {
	return &section{
		keys: []key{
			text("id", &h.ID, notEmpty),
			live(enum("log_level", &h.LogLevel, "trace", "debug", "info", "warn", "error", "off")),
			enum("log_format", &h.LogFormat, "text", "json"),
		},
		blocks: []block{
			{name: "admin", single: &section{keys: []key{
				text("listen", &h.Admin.Listen, hostPort),
				secret("token", &h.Admin.Token),
			}}},
			{name: "shutdown", single: &section{keys: []key{
				live(duration("drain_timeout", &h.Shutdown.DrainTimeout, true)),
				live(duration("kill_timeout", &h.Shutdown.KillTimeout, true)),
			}}},
		},
	}
}

func queueSection(q *Queue) *section {
	return &section{
		keys: []key{
			secret("dsn", &q.DSN),
			secret("listen_dsn", &q.ListenDSN),
			live(text("queue_name", &q.QueueName, queueTemplate)),
			enum("notifications", &q.Notifications, "auto", "pgmq", "tasker"),
			enum("on_complete", &q.OnComplete, "archive", "delete"),
		},
		blocks: []block{
			{name: "pool", single: &section{keys: []key{
				integer("max_connections", &q.MaxConnections, maxCount),
			}}},
			{name: "archive", single: archiveSection(&q.Archive)},
		},
	}
}

func archiveSection(a *Archive) *section {
	return &section{keys: []key{
		live(age("retain", &a.Retain)),
		live(rowLimit("max_rows", &a.MaxRows)),
		live(sizeLimit("max_size", &a.MaxSize)),
	}}
}

func eventSystemSection(e *EventSystem) *section {
	l, p, b := &e.Listener, &e.FallbackPoller, &e.Buffers
	return &section{
		keys: []key{
			text("system_id", &e.SystemID, notEmpty),
			live(mode("deployment_mode", &e.DeploymentMode)),
			boolean("health_monitoring_enabled", &e.HealthMonitoringEnabled),
			duration("health_check_interval", &e.HealthCheckInterval, false),
			live(integer("max_concurrent_processors", &e.MaxConcurrentProcessors, maxCount)),
			duration("processing_timeout", &e.ProcessingTimeout, false),
		},
		blocks: []block{
			{name: "listener", single: &section{keys: []key{
				live(boolean("enabled", &l.Enabled)),
				live(boolean("batch_processing", &l.BatchProcessing)),
				duration("connection_timeout", &l.ConnectionTimeout, false),
				duration("retry_interval", &l.RetryInterval, false),
				duration("safety_sweep", &l.SafetySweep, false),
			}}},
			{name: "fallback_poller", single: &section{keys: []key{
				live(boolean("enabled", &p.Enabled)),
				duration("polling_interval", &p.PollingInterval, false),
				live(integer("batch_size", &p.BatchSize, maxCount)),
				live(duration("visibility_timeout", &p.VisibilityTimeout, false)),
			}}},
			{name: "buffers", single: &section{keys: []key{
				integer("events", &b.Events, maxBuffer),
				live(integer("settlements", &b.Settlements, maxBuffer)),
				live(byteSize("bytes", &b.Bytes)),
			}}},
		},
	}
}

func pluginSection(p *Plugin) *section {
	r, l := &p.Restart, &p.Limits
	command := text("command", &p.Command, notEmpty)
	command.required = true
	return &section{
		keys: []key{
			command,
			textList("args", &p.Args),
			text("sha256", &p.SHA256, sha256Hex),
			secretMap("env", &p.Env),
			textList("env_from", &p.EnvFrom),
			text("cwd", &p.CWD, notEmpty),
			text("user", &p.User, notEmpty),
			text("group", &p.Group, notEmpty),
			integer("instances", &p.Instances, maxCount),
			enum("tls", &p.TLS, "auto", "off"),
			enum("swap", &p.Swap, "overlap", "stop_first"),
			live(boolean("watch", &p.Watch)),
		},
		blocks: []block{
			{name: "restart", single: &section{keys: []key{
				duration("backoff_initial", &r.BackoffInitial, false),
				duration("backoff_max", &r.BackoffMax, false),
				integer("max_crashes", &r.MaxCrashes, maxCount),
				duration("window", &r.Window, false),
			}}},
			{name: "limits", single: &section{keys: []key{
				optional(number("cpus", &l.CPUs, maxCPUs)),
				optional(byteSize("memory", &l.Memory)),
				optional(integer("open_files", &l.OpenFiles, maxLimit)),
				optional(integer("processes", &l.Processes, maxLimit)),
				optional(byteSize("file_size", &l.FileSize)),
				byteSizeOrZero("core", &l.Core),
				enum("cgroup", &l.Cgroup, "off", "auto", "require"),
			}}},
			{name: "config", raw: func(b *hcl.Block) { p.Body, p.ConfigRange = b.Body, b.DefRange }},
		},
	}
}

func namespaceSection(n *Namespace) *section {
	r := &n.Retry
	plugin := text("plugin", &n.Plugin, notEmpty)
	plugin.required = true
	return &section{
		keys: []key{
			plugin,
			text("queue", &n.Queue, queueName),
			integer("concurrency", &n.Concurrency, maxCount),
			duration("timeout", &n.Timeout, true),
			text("step_key", &n.StepKey, notEmpty),
			text("result_queue", &n.ResultQueue, queueName),
			text("dead_letter", &n.DeadLetter, deadLetterName),
			age("dead_letter_retain", &n.DeadLetterRetain),
		},
		blocks: []block{{name: "archive", single: archiveSection(&n.Archive)}, {name: "retry", single: &section{keys: []key{
			integer("max_attempts", &r.MaxAttempts, maxCount),
			integer("max_deliveries", &r.MaxDeliveries, maxCount),
			integer("max_crashes", &r.MaxCrashes, maxCount),
			enum("backoff", &r.Backoff, BackoffExponential, BackoffLinear, BackoffFixed),
			duration("initial", &r.Initial, false),
			duration("max", &r.Max, false),
			ratio("jitter", &r.Jitter),
		}}}},
	}
}
