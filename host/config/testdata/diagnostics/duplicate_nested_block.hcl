plugin "p" {
  command = "../bin/plugin"
}
namespace "a" {
  plugin = "p"
  retry {
  }
  retry {
  }
}
