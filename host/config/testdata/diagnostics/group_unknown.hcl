plugin "p" {
  command = "../bin/plugin"
  group   = "no-such-group"
}

plugin "q" {
  command = "../bin/plugin"
  user    = "61357"
}
