plugin "p" {
  command = env("SECRET")
}
namespace "a" {
  plugin = "p"
  queue = env("SECRET")
  result_queue = env("SECRET")
}
namespace "b" {
  plugin = "p"
  queue = env("SECRET")
}
