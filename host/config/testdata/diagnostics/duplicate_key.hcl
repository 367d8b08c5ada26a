host {
  id = "a"
  id = "b"
}
