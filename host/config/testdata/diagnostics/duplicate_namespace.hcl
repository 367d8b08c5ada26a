plugin "p" {
  command = "../bin/plugin"
}
namespace "a" {
  plugin = "p"
}
namespace "a" {
  plugin = "p"
}
