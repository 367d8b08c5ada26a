plugin "p" {
  command = "../bin/plugin"
}
queue "pgmq" {
  archive {
    max_rows = -1
    max_size = "ten"
    max_age  = "7d"
  }
}
namespace "a" {
  plugin = "p"
  archive {
    max_rows = 1.5
    max_size = -1
  }
}
