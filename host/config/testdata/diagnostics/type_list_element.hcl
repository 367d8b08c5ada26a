plugin "p" {
  command = "../bin/plugin"
  args = ["x", 1, null]
}
