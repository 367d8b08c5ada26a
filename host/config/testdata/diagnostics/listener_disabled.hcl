event_system {
  listener {
    enabled = false
  }
}
