plugin "p" {
  command = "../bin/plugin"
}
namespace "a" {
  plugin             = "p"
  dead_letter        = "failed"
  dead_letter_retain = "90d"
}
namespace "b" {
  plugin      = "p"
  dead_letter = "Failed"
}
