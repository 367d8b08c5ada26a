host {
  id = hostname
}
