# What the host runs: `make run` uses this file. Every key is optional unless it says required, and shows its default
# where it is commented out. An unset environment variable is null, and null means the default. `stephost reload` takes
# over what has changed while the host runs, all but the keys that it names as needing a new start.

host {
  # id       = "worker-1"         # default: hostname and a short random suffix
  log_level  = "info"
  log_format = "text"             # or "json"

  admin {
    listen = "127.0.0.1:7420"     # health, metrics, status, control; beyond loopback a token is required
    token  = env("STEPHOST_ADMIN_TOKEN")
  }

  shutdown {
    # At any time, a handler that ignores its cancellation for kill_timeout costs its process;
    # the process's other handlers get drain_timeout to finish.
    drain_timeout = "20s"         # let handlers finish
    kill_timeout  = "5s"          # after that, cancel and stop; together below Kubernetes' 30 s
  }
}

queue "pgmq" {
  dsn           = env("DATABASE_URL")  # unset with `stephost dev`: a private PostgreSQL
  listen_dsn    = null                 # a direct connection for LISTEN where dsn goes through a transaction pooler
  queue_name    = "{namespace}_queue"
  notifications = "auto"               # "pgmq" (pgmq.q_*.INSERT), "tasker" (pgmq_message_ready.*); "auto" finds out
  on_complete   = "archive"            # or "delete"

  pool {
    max_connections = 8                # beside these, one for LISTEN and one to delete old messages with
  }

  archive {                            # what is kept of the archives of the namespaces' queues: what is within all limits
    retain   = "forever"               # or an age, such as "30d" or "36h"
    max_rows = 0                       # the newest; 0: no limit
    max_size = 0                       # such as "10GiB", of bodies and headers; 0: no limit
  }
}

event_system {
  system_id                 = "worker-event-system"
  deployment_mode           = "Hybrid"   # PollingOnly | Hybrid | EventDrivenOnly
  health_monitoring_enabled = true
  health_check_interval     = "30s"
  max_concurrent_processors = 200        # steps in flight on this host, all namespaces together
  processing_timeout        = "100ms"    # from receiving an event to having acted on it; slower counts as failed

  listener {
    enabled            = true
    batch_processing   = true            # false: claim one message at a time
    connection_timeout = "10s"
    retry_interval     = "1s"
    safety_sweep       = "60s"           # EventDrivenOnly
  }

  fallback_poller {
    enabled            = true
    polling_interval   = "5s"            # the ceiling: the next due message may bring a poll forward
    batch_size         = 100             # the most that one claim takes
    visibility_timeout = "30s"           # the lease; extended while a handler runs
  }

  buffers {
    events      = 1024
    settlements = 4096
    bytes       = "64MiB"                # bodies held by this host at once
  }
}

plugin "orders" {
  command   = "bin/plugins/orders"       # required; relative to this file; for `stephost dev` also a Go package
  args      = []
  sha256    = null                       # pin the binary
  env       = { ORDERS_REGION = "eu" }   # beside PATH, HOME and TMPDIR nothing else is passed on
  env_from  = []                         # but for these variables of the host, such as ["AWS_REGION"]
  cwd       = null                       # working directory, relative to this file; default: the host's
  user      = null                       # run as this user, by name or number; the host must be root
  group     = null                       # default: the user's
  instances = 1
  tls       = "auto"                     # "off" for a debugger or a language without it
  swap      = "overlap"                  # a new version starts beside the old one; "stop_first": in its place, never two at once
  watch     = false                      # swap when the program's content changes

  limits {                               # of each process; docs/isolation.md says what enforces them
    cpus       = null                    # such as 1.5
    memory     = null                    # such as "256MiB"
    open_files = null
    processes  = null                    # threads count
    file_size  = null                    # such as "1GiB"
    core       = null                    # "0": no core dumps
    cgroup     = "off"                   # "auto": where the machine allows it; "require"
  }

  restart {
    backoff_initial = "500ms"
    backoff_max     = "30s"
    max_crashes     = 5                  # within window: trip, pause the namespaces, probe later
    window          = "2m"
  }

  config {                               # the plugin's own keys; its complaints point at these lines
    currency = "EUR"
  }
}

plugin "linear" {
  command = "bin/plugins/linear"
}

namespace "orders" {
  plugin       = "orders"                # required
  queue        = null                    # overrides queue_name
  concurrency  = 50
  timeout      = "20s"                   # per step; "0s": none
  step_key     = "step"                  # message field that names the step; absent or null: the plugin's default handler
  result_queue = null                    # default: no results
  dead_letter  = "{namespace}_dead"

  dead_letter_retain = "forever"         # an age, such as "90d", deletes dead letters that nobody has looked after

  archive {
    retain   = null                      # default of each: the queue block's; "forever" and 0 lift a limit
    max_rows = null
    max_size = null
  }

  retry {
    max_attempts   = 5
    max_deliveries = 20                  # deliveries of which nobody knows the end
    max_crashes    = 3                   # plugin crashes while this message ran alone; innocent neighbours spend nothing
    backoff        = "exponential"       # or "linear", "fixed"
    initial        = "1s"
    max            = "60s"
    jitter         = 0.1
  }
}

namespace "payments" {
  plugin      = "orders"
  concurrency = 20
}

namespace "shipping" {
  plugin = "orders"
}

namespace "linear" {
  plugin       = "linear"
  result_queue = "linear_results"
}
