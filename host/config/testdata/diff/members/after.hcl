plugin "comes" {
  command = "../../bin/run.sh"
}
plugin "changes" {
  command   = "../../bin/run.sh"
  args      = ["-a", "-b"]
  instances = 2
  config {
    rate = 2
  }
}
plugin "configured" {
  command = "../../bin/run.sh"
  config {
    rate = 1
  }
}
plugin "stays" {
  command = "../../bin/run.sh"
}
namespace "comes" {
  plugin = "comes"
}
namespace "stays" {
  plugin = "stays"
}
namespace "moves" {
  plugin = "changes"
}
namespace "changes" {
  plugin       = "stays"
  concurrency  = 5
  timeout      = "0s"
  result_queue = "results"
  retry {
    max_attempts = 1
    jitter       = 0
  }
}
