package world

import (
	"os"
	"strings"
	"text/template"

	"github.com/stephost/stephost/chaos/internal/ledger"
)

// Settings are what a host's configuration file says.
type Settings struct {
	Options
	Route
	ID, Journal, Edition string
	// Extra is more of the namespace's block.
	Extra string
}

// The listener and the poller have their default pace in the long form; with
// shorter leases they would be the slowest part.
var configuration = template.Must(template.New("config.hcl").Parse(`
host {
  id        = "{{.ID}}"
  log_level = "info"
  admin { listen = "127.0.0.1:0" }
  shutdown {
    drain_timeout = "{{.DrainTimeout}}"
    kill_timeout  = "{{.KillTimeout}}"
  }
}
queue "pgmq" {
  dsn = "{{.DSN}}"
  {{if .Listen}}listen_dsn = "{{.Listen}}"{{end}}
  pool { max_connections = {{.PoolConnections}} }
  {{.QueueExtra}}
}
event_system {
  deployment_mode = "{{.Mode}}"
  fallback_poller {
    {{if ne .Name "long"}}polling_interval = "1s"{{end}}
    visibility_timeout = "{{.Lease}}"
  }
}
plugin "chaos" {
  command   = "{{.Handler}}"
  instances = {{.Instances}}
  config {
    journal = "{{.Journal}}"
    {{if .Edition}}edition = "{{.Edition}}"{{end}}
    {{if .Leak}}leak = {{.Leak}}{{end}}
  }
}
namespace "` + ledger.Namespace + `" {
  plugin       = "chaos"
  concurrency  = {{.Concurrency}}
  timeout      = "{{.Timeout}}"
  result_queue = "` + ledger.ResultQueue + `"
  retry {
    initial = "200ms"
  }
  {{.Extra}}
}
`))

// write writes the file in one step, so that a host that reads it meanwhile sees
// the old one or the new one.
func (s Settings) write(path string) error {
	var text strings.Builder
	if err := configuration.Execute(&text, s); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", []byte(text.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
