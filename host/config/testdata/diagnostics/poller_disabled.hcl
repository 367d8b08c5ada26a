event_system {
  deployment_mode = "PollingOnly"
  fallback_poller {
    enabled = false
  }
}
