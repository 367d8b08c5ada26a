host {
  admin {
    token = "first-hunter2"
  }
}
queue "pgmq" {
  dsn        = "postgres://user:hunter2@first"
  on_complete = env("NONE", "archive")
}
plugin "p" {
  command = "../../bin/run.sh"
  env     = { A = "hunter2", B = "x" }
  args    = [env("SECRET")]
  config {
    password = "hunter2"
  }
}
namespace "n" {
  plugin = "p"
}
