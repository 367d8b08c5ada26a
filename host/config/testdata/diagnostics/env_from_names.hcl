plugin "p" {
  command  = "../bin/plugin"
  env_from = ["A", "B=C"]
}

plugin "q" {
  command  = "../bin/plugin"
  env_from = { A = "b" }
}
