plugin "p" {
  command = "../bin/plugin"
}
namespace "a" {
  plugin = "p"
  retry {
    max = "10ms"
  }
}
