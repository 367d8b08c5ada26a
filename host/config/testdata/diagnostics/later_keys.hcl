plugin "p" {
  command = "../bin/plugin"
  swap  = "overlap"
  watch = false
}
