host {
  log_level = env("SECRET")
}
event_system {
  health_check_interval = env("SECRET")
  max_concurrent_processors = env("SECRET")
}
