plugin "p" {
  command = "../bin/plugin"
}
namespace "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" {
  plugin = "p"
}
