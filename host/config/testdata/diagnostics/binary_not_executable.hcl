plugin "p" {
  command = "../bin/text"
}
