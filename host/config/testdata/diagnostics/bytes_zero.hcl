event_system {
  buffers {
    bytes = 0
  }
}
