plugin "stays" {
  command = "../../bin/run.sh"
}
plugin "goes" {
  command = "../../bin/run.sh"
}
plugin "changes" {
  command = "../../bin/run.sh"
  args    = ["-a"]
  restart {
    window = "1m"
  }
  config {
    rate = 1
  }
}
plugin "configured" {
  command = "../../bin/run.sh"
}
namespace "stays" {
  plugin = "stays"
}
namespace "goes" {
  plugin = "goes"
}
namespace "changes" {
  plugin = "changes"
}
namespace "moves" {
  plugin = "changes"
  queue  = "elsewhere"
}
