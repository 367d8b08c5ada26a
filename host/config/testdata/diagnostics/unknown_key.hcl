host {
  log_levl = "info"
}
