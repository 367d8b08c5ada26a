plugin "p" {
  command = "../bin/none"
}
