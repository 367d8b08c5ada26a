event_system {
  fallback_poller {
    polling_interval = "0s"
  }
}
