plugin "p" {
  command = "../bin/plugin"
}
namespace "a" {
  plugin = "p"
  concurrency = 0
}
