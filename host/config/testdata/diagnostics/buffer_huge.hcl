event_system {
  buffers {
    events = 99999999999999999999
  }
}
