host {
  id = env("A=B")
}
