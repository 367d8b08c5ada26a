# Other comments, another layout and defaults that are written down or not are
# no change, and neither is the random part of host.id.
host {
  log_level = "info"
}

queue "pgmq" {
  dsn        = env("SECRET")
  queue_name = "{namespace}_queue"
}

namespace "n" {
  plugin = "p"
  queue  = "n_queue"
}

plugin "p" {
  command = "../../bin/run.sh"
  env     = { KEY = env("SECRET") }

  config {
    # for the time being
    currency = "EUR"

    nested {
      list = [
        1, 2
      ]
    }
  }
}
