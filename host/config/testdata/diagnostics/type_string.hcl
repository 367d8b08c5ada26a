host {
  log_format = 5
}
