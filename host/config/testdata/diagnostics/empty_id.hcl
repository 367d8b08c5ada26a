host {
  id = ""
}
