host {
  log_level = "info"
