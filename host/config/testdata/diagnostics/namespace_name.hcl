plugin "p" {
  command = "../bin/plugin"
}
namespace "a b" {
  plugin = "p"
}
