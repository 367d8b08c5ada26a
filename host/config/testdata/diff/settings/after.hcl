host {
  log_level = "debug"
  admin {
    listen = "127.0.0.1:7001"
  }
  shutdown {
    drain_timeout = "1s"
  }
}
queue "pgmq" {
  queue_name = "worker_{namespace}_queue"
  pool {
    max_connections = 3
  }
}
event_system {
  deployment_mode           = "PollingOnly"
  max_concurrent_processors = 7
  listener {
    enabled          = false
    batch_processing = false
  }
  fallback_poller {
    batch_size         = 9
    visibility_timeout = "9s"
  }
  buffers {
    events      = 9
    settlements = 9
    bytes       = "1KiB"
  }
}
plugin "p" {
  command = "../../bin/run.sh"
}
namespace "n" {
  plugin = "p"
}
