plugin "p" {
  command = "../bin/plugin"
}
namespace "orders" {
  plugin = "p"
}
