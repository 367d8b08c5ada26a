plugin "p" {
  command = "../bin/plugin"
}
plugin "p" {
  command = "../bin/plugin"
}
