plugin "p" {
  command = "../bin/plugin"
  sha256 = "abc"
}
