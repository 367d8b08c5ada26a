plugin "p" {
  command = "../bin/plugin"
}
namespace "a" {
  plugin      = "p"
  dead_letter = "b_Results"
}
namespace "b" {
  plugin       = "p"
  result_queue = "b_results"
}
