plugin "p" {
  command = "../bin/plugin"
}
namespace "a" {
  plugin = "p"
  timeout = "99999h"
}
