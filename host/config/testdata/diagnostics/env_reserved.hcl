plugin "p" {
  command  = "../bin/plugin"
  env      = { PLUGIN_MIN_PORT = "1", REGION = "eu" }
  env_from = ["STEPHOST_PLUGIN_X"]
}
