host {
  admin {
    listen = ":7420"
    token  = env("UNSET")
  }
}
