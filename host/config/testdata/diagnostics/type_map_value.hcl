plugin "p" {
  command = "../bin/plugin"
  env = { A = 1 }
}
