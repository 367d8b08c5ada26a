queue "pgmq" {
  dsn = env("SECRET")
}
plugin "p" {
  command = "../../bin/run.sh"
  env     = { KEY = env("SECRET") }
  config {
    currency = "EUR" # the euro
    nested {
      list = [1, 2]
    }
  }
}
namespace "n" {
  plugin      = "p"
  concurrency = 50
}
