plugin "p" {
  command = "../bin/plugin"
}
namespace "a" {
  plugin = "p"
}
namespace "b" {
  plugin = "p"
  queue = "A_queue"
}
