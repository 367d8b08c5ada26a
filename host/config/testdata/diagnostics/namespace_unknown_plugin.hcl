plugin "p" {
  command = "../bin/plugin"
}
namespace "a" {
  plugin = "q"
}
