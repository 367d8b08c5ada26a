event_system {
  deployment_mode = "hybrid"
}
