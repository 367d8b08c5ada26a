host {
  shutdown {
    drain_timeout = "-1s"
  }
}
