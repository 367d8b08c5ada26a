plugin "p" {
  command = "../bin"
}
