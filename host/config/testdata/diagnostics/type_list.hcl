plugin "p" {
  command = "../bin/plugin"
  args = "x"
}
