host {
  id = env()
}
