host {
  admin {
    token = "second-hunter2"
  }
}
queue "pgmq" {
  dsn        = env("SECRET")
  listen_dsn = "postgres://user:hunter2@second"
  on_complete = env("NONE", "delete")
}
plugin "p" {
  command = "../../bin/run.sh"
  env     = { A = env("SECRET"), B = "hunter2" }
  args    = []
  config {
    password = "second-hunter2"
  }
}
namespace "n" {
  plugin = "p"
}
