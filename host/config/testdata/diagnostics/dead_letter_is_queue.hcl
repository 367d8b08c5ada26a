plugin "p" {
  command = "../bin/plugin"
}
namespace "a" {
  plugin = "p"
  dead_letter = "b_queue"
}
namespace "b" {
  plugin = "p"
}
