host {
  log_level = "loud"
}
