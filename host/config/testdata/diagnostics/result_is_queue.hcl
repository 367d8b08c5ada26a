plugin "p" {
  command = "../bin/plugin"
}
namespace "a" {
  plugin = "p"
}
namespace "b" {
  plugin = "p"
  result_queue = "a_queue"
}
