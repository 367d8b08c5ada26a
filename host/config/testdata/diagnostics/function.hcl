host {
  id = file("x")
}
