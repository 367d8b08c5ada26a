event_system {
  processing_timeout = "30 seconds"
}
