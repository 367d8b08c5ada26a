plugin "p" {
  command = "../bin/plugin"
  cwd     = "../none"
}

plugin "q" {
  command = "../bin/plugin"
  cwd     = "../bin/text"
}
