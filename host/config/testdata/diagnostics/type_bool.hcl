event_system {
  listener {
    enabled = "yes"
  }
}
