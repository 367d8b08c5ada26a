plugin "p" {
  command = "../bin/plugin"

  limits {
    cpus = "2"
    core = true
  }
}
