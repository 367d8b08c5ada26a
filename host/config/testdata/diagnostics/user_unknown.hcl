plugin "p" {
  command = "../bin/plugin"
  user    = "no-such-user"
}

plugin "q" {
  command = "../bin/plugin"
  user    = 1000
}
