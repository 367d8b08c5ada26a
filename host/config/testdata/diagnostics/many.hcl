host {
	log_level = "loud"
	id = ""
}
namespace "a" {
}
namespace "b" {
  plugin = "none"
  concurrency = -1
}
foo = 1
