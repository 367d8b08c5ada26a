plugin "p" {
  command = "../bin/plugin"
  env = { "A=B" = "x" }
}
