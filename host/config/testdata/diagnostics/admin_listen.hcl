host {
  admin {
    listen = "7420"
  }
}
