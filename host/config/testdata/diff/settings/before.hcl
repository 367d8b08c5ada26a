host {
  id = "one"
  admin {
    listen = "127.0.0.1:7000"
  }
}
queue "pgmq" {}
event_system {
  system_id = "x"
  fallback_poller {
    polling_interval = "3s"
  }
}
plugin "p" {
  command = "../../bin/run.sh"
}
namespace "n" {
  plugin = "p"
}
