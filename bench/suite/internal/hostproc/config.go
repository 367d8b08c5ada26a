package hostproc

import (
	"cmp"
	"fmt"
	"strings"
)

// Config is the configuration of a host with one plugin and one namespace. The
// zero value of each optional field leaves the host's default.
type Config struct {
	// ID must differ where several hosts share a database.
	ID  string
	DSN string
	// Plugin is the plugin's program, Args its arguments.
	Plugin string
	Args   []string
	// PluginConfig is the content of its config block.
	PluginConfig string
	// Slots is how many steps may be in flight.
	Slots int
	// Batch is the most messages that one claim takes.
	Batch int
	// MaxConnections is the size of the pool.
	MaxConnections int
	Instances      int
	OnComplete     string
	ResultQueue    string
	Mode           string
	// PollingInterval is as HCL writes it.
	PollingInterval string
}

// Namespace and Queue are the names that Config uses.
const (
	Namespace   = "bench"
	Queue       = "bench_queue"
	DeadQueue   = "bench_dead"
	ResultQueue = "bench_results"
)

// HCL writes the configuration.
func (c Config) HCL() string {
	var b block
	b.open("host")
	b.text("id", cmp.Or(c.ID, "bench"))
	b.line(`admin { listen = "127.0.0.1:0" }`)
	b.close()
	b.open(`queue "pgmq"`)
	b.text("dsn", c.DSN)
	b.text("on_complete", c.OnComplete)
	if c.MaxConnections > 0 {
		b.line("pool { max_connections = %d }", c.MaxConnections)
	}
	b.close()
	b.open("event_system")
	b.text("deployment_mode", c.Mode)
	b.number("max_concurrent_processors", c.Slots)
	b.open("fallback_poller")
	b.text("polling_interval", c.PollingInterval)
	b.number("batch_size", c.Batch)
	b.close()
	if c.Slots > 1024 {
		b.line("buffers { settlements = %d }", 4*c.Slots)
	}
	b.close()
	b.open(`plugin "bench"`)
	b.text("command", c.Plugin)
	if len(c.Args) > 0 {
		b.line("args = [%s]", quoted(c.Args))
	}
	b.number("instances", c.Instances)
	if c.PluginConfig != "" {
		b.line("config {\n%s\n}", c.PluginConfig)
	}
	b.close()
	b.open("namespace %q", Namespace)
	b.text("plugin", "bench")
	b.number("concurrency", c.Slots)
	b.text("result_queue", c.ResultQueue)
	b.close()
	return b.String()
}

// block writes HCL.
type block struct{ strings.Builder }

func (b *block) line(format string, args ...any) { fmt.Fprintf(&b.Builder, format+"\n", args...) }

func (b *block) open(format string, args ...any) { b.line(format+" {", args...) }

func (b *block) close() { b.line("}") }

func (b *block) text(key, value string) {
	if value != "" {
		b.line("%s = %q", key, value)
	}
}

func (b *block) number(key string, value int) {
	if value > 0 {
		b.line("%s = %d", key, value)
	}
}

func quoted(values []string) string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = fmt.Sprintf("%q", v)
	}
	return strings.Join(all, ", ")
}
