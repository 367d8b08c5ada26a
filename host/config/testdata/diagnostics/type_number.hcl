namespace "a" {
  plugin = "p"
  concurrency = "50"
}
plugin "p" {
  command = "../bin/plugin"
}
