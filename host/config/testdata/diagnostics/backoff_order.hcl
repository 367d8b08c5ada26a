plugin "p" {
  command = "../bin/plugin"
  restart {
    backoff_initial = "1m"
  }
}
