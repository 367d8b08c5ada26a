plugin "p" {
  command = "../bin/plugin"
}
namespace "a" {
  plugin = "p"
  retry {
    jitter = 1.5
  }
}
