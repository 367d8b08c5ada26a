event_system {
  buffers {
    bytes = "64 apples"
  }
}
