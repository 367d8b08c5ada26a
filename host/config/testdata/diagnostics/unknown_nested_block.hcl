event_system {
  listner {
  }
}
