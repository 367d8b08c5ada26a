plugin "p" {
  command = "../bin/plugin"
}
namespace "a" {
  plugin = "p"
  queue = "a;b"
}
