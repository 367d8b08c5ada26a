plugin "p" {
  command = "../bin/plugin"
  env = { for k in [env("SECRET"), env("SECRET")] : k => k }
}
