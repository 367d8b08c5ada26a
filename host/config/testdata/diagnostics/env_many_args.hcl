host {
  id = env("A", "b", "c")
}
