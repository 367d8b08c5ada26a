event_system {
  health_check_interval = 30
}
