plugin "p" {
  command = env("UNSET")
}
